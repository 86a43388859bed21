// One map of one fit on a canvas: the slice, the marks of orientation, the scale bar, the cross.

class Panel {
  constructor(viewer, column, canvas, small = false, map = null) {
    this.viewer = viewer;
    this.column = column;
    this.canvas = canvas;
    this.small = small;
    this.map = map; // of a small panel; a large one shows that of the viewer
    this.image = document.createElement("canvas");
    [this.image.width, this.image.height] = viewer.volume.size;
  }

  // Draw, once the values are there.
  async draw() {
    const map = this.map || this.viewer.state.map;
    if (!this.viewer.arrays.has(`${map.key} ${this.column.name}`)) return;
    const wanted = this.viewer.namesOf(map, this.column);
    if (wanted.some((name) => !this.viewer.arrays.now(name))) {
      await this.viewer.arrays.getAll(wanted);
      if (!this.map && map !== this.viewer.state.map) return; // another map was chosen meanwhile
    }
    this.viewer.paint(this.image, map, this.column);
    this.show();
  }

  // Size of the canvas on the page, and how image pixels lie on it.
  layout() {
    const { size, pixel } = this.viewer.volume;
    const width = this.canvas.clientWidth;
    const height = this.canvas.clientHeight;
    const fit = Math.min(width / (size[0] * pixel[0]), height / (size[1] * pixel[1]));
    const zoom = this.small ? 1 : this.viewer.state.zoom;
    const centre = this.small ? [size[0] / 2, size[1] / 2] : this.viewer.state.centre;
    const scale = [fit * zoom * pixel[0], fit * zoom * pixel[1]];
    return { width, height, scale, left: width / 2 - centre[0] * scale[0], top: height / 2 - centre[1] * scale[1] };
  }

  show() {
    const ratio = window.devicePixelRatio || 1;
    const { width, height, scale, left, top } = this.layout();
    if (!width || !height) return;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.imageSmoothingEnabled = false;
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    const [columns, rows] = this.viewer.volume.size;
    context.drawImage(this.image, left, top, columns * scale[0], rows * scale[1]);
    if (!this.small) this.overlay(context, { width, height, scale, left, top });
  }

  overlay(context, place) {
    const { width, height, scale, left, top } = place;
    const [i, j, k] = this.viewer.state.voxel;
    if (k === this.viewer.state.slice) {
      const [u, v] = this.viewer.volume.toScreen(i, j);
      const [x, y] = [left + u * scale[0], top + v * scale[1]];
      context.lineWidth = 1;
      for (const [colour, grow] of [["#000", 1.5], ["#fff", 0.5]]) {
        context.strokeStyle = colour;
        context.strokeRect(x - grow, y - grow, scale[0] + 2 * grow, scale[1] + 2 * grow);
      }
      context.strokeStyle = "rgba(255,255,255,0.45)";
      context.beginPath();
      const [cx, cy] = [x + scale[0] / 2, y + scale[1] / 2];
      for (const [x1, y1, x2, y2] of [[0, cy, x - 6, cy], [x + scale[0] + 6, cy, width, cy], [cx, 0, cx, y - 6], [cx, y + scale[1] + 6, cx, height]]) {
        context.moveTo(x1, y1);
        context.lineTo(x2, y2);
      }
      context.stroke();
    }
    const view = this.viewer.about.view;
    context.font = "bold 13px system-ui, sans-serif";
    this.letter(context, view.left, 10, height / 2);
    this.letter(context, view.right, width - 10, height / 2);
    this.letter(context, view.top, width / 2, 12);
    this.letter(context, view.bottom, width / 2, height - 11);
    this.scaleBar(context, height, scale[0] / this.viewer.volume.pixel[0]);
  }

  letter(context, text, x, y) {
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 3;
    context.strokeStyle = "#000";
    context.strokeText(text, x, y);
    context.fillStyle = "#ffe680";
    context.fillText(text, x, y);
  }

  // A bar of a round length, about a fifth of the panel. perUnit: points on the screen in a mm.
  scaleBar(context, height, perUnit) {
    const longest = (this.canvas.clientWidth * 0.25) / perUnit;
    const power = 10 ** Math.floor(Math.log10(longest));
    const length = [5, 2, 1].map((one) => one * power).find((one) => one <= longest);
    const [x, y, points] = [12, height - 12, length * perUnit];
    for (const [colour, thick] of [["#000", 5], ["#fff", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = thick;
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x + points, y);
      context.stroke();
    }
    context.textAlign = "left";
    context.textBaseline = "bottom";
    context.font = "12px system-ui, sans-serif";
    const text = `${shortNumber(length)} ${this.viewer.about.unit || "(unit unknown)"}`;
    context.lineWidth = 3;
    context.strokeStyle = "#000";
    context.strokeText(text, x, y - 4);
    context.fillStyle = "#fff";
    context.fillText(text, x, y - 4);
  }

  // i, j of the box under a point of the page; null outside.
  voxelAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const { scale, left, top } = this.layout();
    const u = Math.floor((event.clientX - box.left - left) / scale[0]);
    const v = Math.floor((event.clientY - box.top - top) / scale[1]);
    const [columns, rows] = this.viewer.volume.size;
    return u < 0 || v < 0 || u >= columns || v >= rows ? null : this.viewer.volume.fromScreen(u, v);
  }
}
