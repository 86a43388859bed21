// The maps of all fits beside each other: one state, linked panels, controls, keys.

class Viewer {
  constructor(about, arrays, volume) {
    Object.assign(this, { about, arrays, volume, colours: new Colours(about) });
    const voxel = about.start;
    this.state = { map: about.maps.find((map) => map.key === "f") || about.maps[0], voxel, slice: voxel[2], zoom: 1, centre: [0, 0], reference: null, chosen: {} };
    this.ranges = {}; // key, with "-" for differences -> [low, high] in the shown unit
    this.listeners = [];
    this.panels = [];
    this.small = [];
    this.hideUnidentifiable = true;
    Object.assign(this.state, this.whole());
  }

  // ---- what is shown

  // Names of the arrays that a panel needs.
  namesOf(map, column) {
    const names = [`${map.key} ${column.name}`];
    if (map.key.startsWith("dstar") && !column.truth) names.push(`outcome ${column.name}`);
    if (this.referenceFor(map, column)) names.push(`${map.key} ${this.state.reference}`);
    return names.filter((name) => this.arrays.has(name));
  }

  // Whether the panel shows a difference from the reference.
  referenceFor(map, column) {
    const reference = this.state.reference;
    return reference && map.key !== "outcome" && reference !== column.name && this.arrays.has(`${map.key} ${reference}`);
  }

  columnsOf(map) {
    return this.about.columns.filter((column) => this.arrays.has(`${map.key} ${column.name}`));
  }

  rangeKey(difference) {
    return this.state.map.key + (difference ? "-" : "");
  }

  // The colours' range of a map, linked over the fits; from the data where nothing else is said.
  rangeOf(map, difference) {
    const key = map.key + (difference ? "-" : "");
    if (!(key in this.ranges)) {
      const [low, high] = map.range || this.spread(map);
      this.ranges[key] = difference ? [-(high - low) / 3, (high - low) / 3] : [low, high];
    }
    return this.ranges[key];
  }

  // 0 to the 99th percentile of some thousand values.
  spread(map) {
    const some = [];
    for (const column of this.columnsOf(map)) {
      const values = this.arrays.now(`${map.key} ${column.name}`) || [];
      const step = Math.max(1, Math.floor(values.length / 4000));
      for (let v = 0; v < values.length; v += step) if (Number.isFinite(values[v])) some.push(values[v]);
    }
    some.sort((a, b) => a - b);
    const top = some.length ? some[Math.floor(0.99 * (some.length - 1))] * map.scale : 1;
    return [0, 1.1 * top || 1];
  }

  tableOf(map, difference) {
    return this.colours.tables[difference ? "RdBu_r" : this.state.chosen[map.key] || map.colours];
  }

  // Paint the slice of a map into an image.
  paint(image, map, column) {
    const values = this.arrays.now(`${map.key} ${column.name}`);
    const [columns, rows] = this.volume.size;
    const data = new ImageData(columns, rows);
    const pixels = new Int32Array(data.data.buffer);
    const difference = this.referenceFor(map, column);
    const other = difference ? this.arrays.now(`${map.key} ${this.state.reference}`) : null;
    const outcome = map.key.startsWith("dstar") && this.hideUnidentifiable ? this.arrays.now(`outcome ${column.name}`) : null;
    const categories = map.key === "outcome" ? this.colours.outcomes : null;
    const blank = this.arrays.now("blank");
    const table = categories ? null : this.tableOf(map, difference);
    const [low, high] = categories ? [0, 1] : this.rangeOf(map, difference);
    const scale = 255 / (high - low || 1);
    let at = 0;
    for (let v = 0; v < rows; v++) {
      for (let u = 0; u < columns; u++, at++) {
        const [i, j] = this.volume.fromScreen(u, v);
        const voxel = this.volume.at(i, j, this.state.slice);
        if (voxel < 0 || (blank && blank[voxel])) pixels[at] = OUTSIDE;
        else if (categories) pixels[at] = categories[values[voxel]];
        else if (outcome && outcome[voxel] === 4 && !difference) pixels[at] = this.colours.meaningless;
        else {
          const value = (other ? values[voxel] - other[voxel] : values[voxel]) * map.scale;
          if (value !== value) pixels[at] = other ? UNKNOWN_DIFFERENCE : NOT_FITTED;
          else pixels[at] = table[Math.min(255, Math.max(0, Math.round((value - low) * scale)))];
        }
      }
    }
    image.getContext("2d").putImageData(data, 0, 0);
  }

  // ---- changes

  set(change) {
    Object.assign(this.state, change);
    for (const listener of this.listeners) listener(change);
  }

  choose(map) {
    if (map) this.set({ map });
  }

  moveTo(i, j, k) {
    const voxel = [i, j, k].map((value, axis) => Math.min(this.about.box[axis] - 1, Math.max(0, value)));
    this.set(voxel[2] === this.state.slice ? { voxel } : { voxel, slice: voxel[2] });
  }

  // Move the voxel on the screen: to the right, down, and through the slices.
  step(right, down, slices) {
    const [i, j, k] = this.state.voxel;
    const [u, v] = this.volume.toScreen(i, j);
    const [columns, rows] = this.volume.size;
    const clip = (value, n) => Math.min(n - 1, Math.max(0, value));
    this.moveTo(...this.volume.fromScreen(clip(u + right, columns), clip(v + down, rows)), k + slices);
  }

  // Zoom about a point of the image (column, row); null: the middle of the view.
  zoomBy(factor, about = null) {
    const zoom = Math.min(40, Math.max(1, this.state.zoom * factor));
    const fixed = about || this.state.centre;
    const centre = this.state.centre.map((c, axis) => fixed[axis] + ((c - fixed[axis]) * this.state.zoom) / zoom);
    this.set(zoom === 1 ? { zoom, centre: this.volume.size.map((n) => n / 2) } : { zoom, centre });
  }

  // The view that shows all voxels with any signal.
  whole() {
    const corners = this.about.focus.map(([i, j]) => this.volume.toScreen(i, j));
    const low = [0, 1].map((axis) => Math.min(corners[0][axis], corners[1][axis]));
    const high = [0, 1].map((axis) => Math.max(corners[0][axis], corners[1][axis]) + 1);
    const zoom = Math.min(...this.volume.size.map((n, axis) => n / (high[axis] - low[axis])));
    return { zoom: Math.max(1, 0.97 * zoom), centre: low.map((value, axis) => (value + high[axis]) / 2) };
  }

  // ---- keys

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const steps = { ArrowRight: [1, 0, 0], ArrowLeft: [-1, 0, 0], ArrowDown: [0, 1, 0], ArrowUp: [0, -1, 0], PageUp: [0, 0, 1], PageDown: [0, 0, -1] };
    if (event.key in steps) this.step(...steps[event.key]);
    else if (/^[1-9]$/.test(event.key) && this.about.maps[event.key - 1]) this.choose(this.about.maps[event.key - 1]);
    else if (event.key === "+" || event.key === "=") this.zoomBy(1.5);
    else if (event.key === "-") this.zoomBy(1 / 1.5);
    else if (event.key === "0") this.set(this.whole());
    else return false;
    return true;
  }

  // ---- panels

  addPanel(column, canvas) {
    const panel = new Panel(this, column, canvas);
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      held = { x: event.clientX, y: event.clientY, centre: this.state.centre, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (held && Math.hypot(event.clientX - held.x, event.clientY - held.y) > 4) held.moved = true;
      if (held && held.moved && this.state.zoom > 1) {
        const { scale } = panel.layout();
        this.set({ centre: [held.centre[0] - (event.clientX - held.x) / scale[0], held.centre[1] - (event.clientY - held.y) / scale[1]] });
      } else if (!held) this.hover(panel, event);
    });
    canvas.addEventListener("pointerup", (event) => {
      const place = held && !held.moved && panel.voxelAt(event);
      held = null;
      if (place) this.moveTo(...place, this.state.slice);
    });
    canvas.addEventListener("pointerleave", () => this.hovered && this.hovered(null));
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.shiftKey && document.activeElement !== document.getElementById("viewer")) return; // the page scrolls
      event.preventDefault();
      const { scale, left, top } = panel.layout();
      const box = canvas.getBoundingClientRect();
      this.zoomBy(event.deltaY < 0 ? 1.25 : 0.8, [(event.clientX - box.left - left) / scale[0], (event.clientY - box.top - top) / scale[1]]);
    }, { passive: false });
    this.panels.push(panel);
  }

  hover(panel, event) {
    const place = panel.voxelAt(event);
    if (this.hovered) this.hovered(place ? [...place, this.state.slice] : null);
  }

  // Draw everything that a change has touched, at most once for each frame.
  draw(what = "all") {
    this.pending = this.pending === "all" || what === "all" ? "all" : what;
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      for (const panel of this.panels) if (this.pending === "all") panel.draw(); else panel.show();
      this.pending = "";
    });
  }
}
