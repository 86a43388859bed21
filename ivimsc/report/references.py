"""The publications that a methods paragraph cites, with BibTeX."""

from typing import NamedTuple

from ivimsc import __version__

__all__ = ["CITED_BY", "REFERENCES", "Reference", "bibtex"]


class Reference(NamedTuple):
    """One publication: BibTeX type, authors ("and" between them), title, year, and the other fields."""

    kind: str
    authors: str
    title: str
    year: str
    more: dict[str, str]

    @property
    def text(self) -> str:
        """The reference as a line of text."""
        names = self.authors.split(" and ")
        who = ", ".join(names[:3]) + (" et al." if len(names) > 3 else "")
        m = self.more
        where = m.get("journal") or m.get("booktitle") or m.get("publisher") or ""
        if "volume" in m:
            where += f" {m['volume']}:{m['pages']}"
        parts = [
            f"{who.removesuffix('.')}.",
            f"{self.title}.",
            f"{where} ({self.year})." if where else f"({self.year}).",
        ]
        parts += [f"doi:{m['doi']}"] if "doi" in m else []
        return " ".join(parts)


def _article(authors: str, title: str, year: str, journal: str, volume: str, pages: str, doi: str) -> Reference:
    return Reference(
        "article", authors, title, year, {"journal": journal, "volume": volume, "pages": pages, "doi": doi}
    )


REFERENCES = {
    "lebihan1988": _article(
        "Le Bihan D and Breton E and Lallemand D and Aubin ML and Vignaud J and Laval-Jeantet M",
        "Separation of diffusion and perfusion in intravoxel incoherent motion MR imaging",
        "1988", "Radiology", "168", "497-505", "10.1148/radiology.168.2.3393671",
    ),
    "stejskal1965": _article(
        "Stejskal EO and Tanner JE",
        "Spin diffusion measurements: spin echoes in the presence of a time-dependent field gradient",
        "1965", "The Journal of Chemical Physics", "42", "288-292", "10.1063/1.1695690",
    ),
    "golub1973": _article(
        "Golub GH and Pereyra V",
        "The differentiation of pseudo-inverses and nonlinear least squares problems whose variables separate",
        "1973", "SIAM Journal on Numerical Analysis", "10", "413-432", "10.1137/0710036",
    ),
    "lu2012": _article(
        "Lu Y and Jansen JFA and Mazaheri Y and Stambuk HE and Koutcher JA and Shukla-Dave A",
        "Extension of the intravoxel incoherent motion model to non-gaussian diffusion in head and neck cancer",
        "2012", "Journal of Magnetic Resonance Imaging", "36", "1088-1096", "10.1002/jmri.23770",
    ),
    "jensen2005": _article(
        "Jensen JH and Helpern JA and Ramani A and Lu H and Kaczynski K",
        "Diffusional kurtosis imaging: the quantification of non-Gaussian water diffusion by means of magnetic resonance imaging",
        "2005", "Magnetic Resonance in Medicine", "53", "1432-1440", "10.1002/mrm.20508",
    ),
    "cercueil2015": _article(
        "Cercueil JP and Petit JM and Nougaret S and Soyer P and Fohlen A and others",
        "Intravoxel incoherent motion diffusion-weighted imaging in the liver: comparison of mono-, bi- and tri-exponential modelling at 3.0-T",
        "2015", "European Radiology", "25", "1541-1550", "10.1007/s00330-014-3554-6",
    ),
    "orton2014": _article(
        "Orton MR and Collins DJ and Koh DM and Leach MO",
        "Improved intravoxel incoherent motion analysis of diffusion weighted imaging by data driven Bayesian modeling",
        "2014", "Magnetic Resonance in Medicine", "71", "411-420", "10.1002/mrm.24649",
    ),
    "golkov2016": _article(
        "Golkov V and Dosovitskiy A and Sperl JI and Menzel MI and Czisch M and Sämann P and Brox T and Cremers D",
        "q-Space deep learning: twelve-fold shorter and model-free diffusion MRI scans",
        "2016", "IEEE Transactions on Medical Imaging", "35", "1344-1351", "10.1109/TMI.2016.2551324",
    ),
    "barbieri2020": _article(
        "Barbieri S and Gurney-Champion OJ and Klaassen R and Thoeny HC",
        "Deep learning how to fit an intravoxel incoherent motion model to diffusion-weighted MRI",
        "2020", "Magnetic Resonance in Medicine", "83", "312-321", "10.1002/mrm.27910",
    ),
    "kaandorp2021": _article(
        "Kaandorp MPT and Barbieri S and Klaassen R and van Laarhoven HWM and Crezee H and While PT and Nederveen AJ and Gurney-Champion OJ",
        "Improved unsupervised physics-informed deep learning for intravoxel incoherent motion modeling and evaluation in pancreatic cancer patients",
        "2021", "Magnetic Resonance in Medicine", "86", "2250-2265", "10.1002/mrm.28852",
    ),
    "lawson1974": Reference(
        "book", "Lawson CL and Hanson RJ", "Solving Least Squares Problems", "1974", {"publisher": "Prentice-Hall"}
    ),
    "gregor2010": Reference(
        "inproceedings", "Gregor K and LeCun Y", "Learning fast approximations of sparse coding", "2010",
        {"booktitle": "Proceedings of the 27th International Conference on Machine Learning", "pages": "399-406"},
    ),
    "ivimsc": Reference(
        "software", "The ivimsc developers",
        f"ivimsc: fast fitting and sparse coding of intravoxel incoherent motion MRI, version {__version__}", "2026", {},
    ),
}  # fmt: skip

CITED_BY = {
    "adc": ("stejskal1965",),
    "simplified": ("lebihan1988",),
    "segmented": ("lebihan1988",),
    "nlls": ("lebihan1988", "golub1973"),
    "kurtosis": ("lu2012", "jensen2005"),
    "triexp": ("cercueil2015",),
    "bayes": ("lebihan1988", "orton2014"),
    "ista": ("lebihan1988", "lawson1974"),
    "scdnn": ("lebihan1988", "gregor2010"),
    "mlp": ("lebihan1988", "golkov2016"),
    "ivimnet": ("lebihan1988", "barbieri2020", "kaandorp2021"),
}


def bibtex(keys: list[str]) -> str:
    """The BibTeX entries of some references.

    Parameters
    ----------
    keys : of `REFERENCES`
    """
    entries = []
    for key in keys:
        reference = REFERENCES[key]
        fields = {
            "author": reference.authors,
            "title": f"{{{reference.title}}}",
            "year": reference.year,
        } | reference.more
        fields["author"] = " and ".join(_surname_first(name) for name in fields["author"].split(" and "))
        if "pages" in fields:
            fields["pages"] = fields["pages"].replace("-", "--")
        lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        entries.append(f"@{reference.kind}{{{key},\n{lines}\n}}")
    return "\n\n".join(entries)


def _surname_first(name: str) -> str:
    """``Golub GH`` as ``Golub, G. H.``; a name without initials is kept whole in braces."""
    surname, _, initials = name.rpartition(" ")
    if not surname or not initials.isupper():
        return f"{{{name}}}"
    return f"{surname}, {' '.join(f'{letter}.' for letter in initials)}"
