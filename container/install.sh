#!/bin/sh
# What both recipes do, and what a clean environment does: install, compile all kernels, see that it works.
# usage: sh container/install.sh SOURCE_FOLDER
set -eu
python -m pip install --no-cache-dir --constraint "$1/constraints.txt" "$1[report,cluster]"
ivimsc warm-up
ivimsc info
