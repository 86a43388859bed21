// The page comes to life: arrays are unpacked, controls are bound, the first voxel is shown.

const TEXTS = ["axis_label_text_color", "major_label_text_color", "group_text_color", "axis_line_color", "major_tick_line_color", "minor_tick_line_color", "label_text_color"];

async function begin() {
  performance.mark("begin");
  const about = JSON.parse(document.getElementById("about").textContent);
  const arrays = new Arrays(about.arrays);
  const inside = await arrays.get("inside");
  await arrays.getAll(["blank"]);
  const viewer = new Viewer(about, arrays, new Volume(about, inside));
  const inspector = new Inspector(viewer);
  const controls = new Controls(viewer);
  window.ivimsc = { viewer, inspector }; // for the console, and for tests
  viewer.listeners.push((change) => {
    controls.update(change);
    viewer.draw("voxel" in change && !("slice" in change) ? "marks" : "all");
    if ("voxel" in change) inspector.show();
  });
  await arrays.getAll(viewer.columnsOf(viewer.state.map).flatMap((column) => viewer.namesOf(viewer.state.map, column)));
  controls.update({ map: true, slice: true });
  viewer.draw();
  inspector.show();
  performance.mark("maps");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { theme(); controls.update({ map: true }); });
  const items = JSON.parse(document.getElementById("diagrams").textContent);
  const first = items.filter((item) => /^chart-(curve|residual|spectrum)/.test(item.target_id));
  const loading = inspector.load(); // unpacked beside the main thread
  await draw(first);
  performance.mark("charts");
  await loading;
  performance.mark("arrays");
  inspector.show();
  document.body.dataset.ready = "yes";
  await draw(items.filter((item) => !first.includes(item)));
  controls.overview();
  document.body.dataset.whole = "yes";
  performance.mark("whole");
}

// Put diagrams into the page, one after another, so that the page stays awake.
async function draw(items) {
  for (const item of items) {
    if (!document.getElementById(item.target_id)) continue;
    await Bokeh.embed.embed_item(item);
    theme();
    await new Promise((done) => setTimeout(done, 0));
  }
}

// The text of the diagrams in the colour of the page.
function theme() {
  const colour = getComputedStyle(document.body).color;
  for (const plot of Bokeh.documents.flatMap((made) => made.roots())) {
    if (plot.themed === colour) continue;
    plot.themed = colour;
    if (plot.title) plot.title.text_color = colour;
    for (const part of [...plot.below, ...plot.left, ...plot.center]) {
      for (const name of TEXTS) if (name in part.properties) part[name] = colour;
    }
  }
}

class Controls {
  constructor(viewer) {
    this.viewer = viewer;
    const find = (id) => document.getElementById(id);
    this.find = find;
    this.maps();
    this.grid();
    find("slice").max = viewer.volume.nz - 1;
    find("slice-control").classList.toggle("single", viewer.volume.nz === 1);
    find("slice").addEventListener("input", (event) => viewer.moveTo(...viewer.state.voxel.slice(0, 2), Number(event.target.value)));
    for (const [id, change] of [["slice-up", 1], ["slice-down", -1]]) find(id).addEventListener("click", () => viewer.step(0, 0, change));
    find("zoom-in").addEventListener("click", () => viewer.zoomBy(1.5));
    find("zoom-out").addEventListener("click", () => viewer.zoomBy(1 / 1.5));
    find("zoom-all").addEventListener("click", () => viewer.set(viewer.whole()));
    for (const name of ["low", "high"]) {
      find(name).addEventListener("change", () => this.window());
      find(`${name}-slider`).addEventListener("input", (event) => { find(name).value = event.target.value; this.window(); });
    }
    find("range-reset").addEventListener("click", () => { delete viewer.ranges[viewer.rangeKey(this.difference())]; viewer.set({ map: viewer.state.map }); });
    find("colours").addEventListener("change", (event) => { viewer.state.chosen[viewer.state.map.key] = event.target.value; viewer.set({ map: viewer.state.map }); });
    find("reference").addEventListener("change", (event) => viewer.set({ reference: event.target.value || null, map: viewer.state.map }));
    find("unidentifiable").addEventListener("change", (event) => { viewer.hideUnidentifiable = event.target.checked; viewer.set({ map: viewer.state.map }); });
    find("logarithmic").addEventListener("change", (event) => {
      find("curve-linear").hidden = event.target.checked;
      find("curve-log").hidden = !event.target.checked;
    });
    viewer.hovered = (place) => this.hovered(place);
    document.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.resize()).observe(find("panels"));
  }

  maps() {
    const buttons = this.viewer.about.maps.map((map, k) => {
      const button = element("button", [element("kbd", k < 9 ? `${k + 1}` : ""), ` ${map.label}`], { type: "button", role: "radio", title: map.name, "data-key": map.key });
      button.addEventListener("click", () => this.viewer.choose(map));
      return button;
    });
    this.find("maps").replaceChildren(...buttons);
  }

  grid() {
    for (const column of this.viewer.about.columns) {
      const canvas = element("canvas", "", { role: "img", "data-fit": column.name });
      const caption = element("figcaption", column.name);
      caption.style.setProperty("--fit", column.colour);
      const box = element("figure", [caption, canvas], { class: "panel", "data-fit": column.name });
      this.find("panels").append(box);
      this.viewer.addPanel(column, canvas);
    }
  }

  difference() {
    return Boolean(this.viewer.state.reference) && this.viewer.state.map.key !== "outcome";
  }

  // Panels as large as the page has room for.
  resize() {
    const { size, pixel } = this.viewer.volume;
    const shown = this.viewer.panels.filter((panel) => !panel.canvas.parentElement.hidden).length || 1;
    const width = this.find("panels").clientWidth;
    const columns = shown <= 2 ? shown : shown === 4 || width < 700 ? 2 : 3;
    this.find("panels").style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
    const each = (width - 8 * (columns - 1)) / columns;
    const ratio = Math.min(1.4, Math.max(0.5, (size[1] * pixel[1]) / (size[0] * pixel[0])));
    const height = Math.min(each * ratio, 560);
    for (const panel of this.viewer.panels) panel.canvas.style.height = `${Math.round(height)}px`;
    this.viewer.draw("all");
    this.update({ map: true });
  }

  window() {
    const [low, high] = ["low", "high"].map((name) => Number(this.find(name).value));
    if (low < high) this.viewer.ranges[this.viewer.rangeKey(this.difference())] = [low, high];
    this.viewer.set({ map: this.viewer.state.map });
  }

  key(event) {
    const typing = event.target.matches("input:not([type=checkbox]), select, textarea, summary");
    const box = this.find("viewer").getBoundingClientRect();
    const seen = Math.min(box.bottom, innerHeight) - Math.max(box.top, 0) > 120;
    if (!typing && seen && this.viewer.key(event)) event.preventDefault();
  }

  async update(change) {
    const { map, slice } = this.viewer.state;
    const { about, volume } = this.viewer;
    if ("slice" in change || "map" in change) {
      this.find("slice").value = slice;
      const through = about.view.plane === "axial" ? 2 : about.view.plane === "coronal" ? 1 : 0;
      const where = volume.position(volume.nx / 2, volume.ny / 2, slice).split(", ")[through];
      this.find("slice-name").textContent = `slice ${slice + about.origin[2]} (0 to ${about.shape[2] - 1})${where ? `, ${where.replace(/ (mm|µm|m|\(unit unknown\))$/, "")} ${about.unit}` : ""}`;
    }
    if ("map" in change || "reference" in change) await this.updateMap(map);
    if ("slice" in change && this.small) this.small.forEach((panel) => panel.draw());
  }

  async updateMap(map) {
    const outcome = map.key === "outcome";
    for (const button of this.find("maps").children) button.setAttribute("aria-checked", button.dataset.key === map.key);
    this.viewer.panels.forEach((panel) => {
      const box = panel.canvas.parentElement;
      const there = this.viewer.arrays.has(`${map.key} ${panel.column.name}`);
      const difference = this.viewer.referenceFor(map, panel.column);
      if (box.hidden === there) { box.hidden = !there; this.resize(); }
      box.firstChild.textContent = difference ? `${panel.column.name} − ${this.viewer.state.reference}` : panel.column.name;
      panel.canvas.setAttribute("aria-label", `Map of ${map.name} by ${box.firstChild.textContent}`);
    });
    this.find("window").hidden = outcome;
    this.find("hide-dstar").hidden = !map.key.startsWith("dstar") || this.difference();
    this.find("legend").hidden = !outcome;
    if (outcome) return;
    await this.viewer.arrays.getAll(this.viewer.columnsOf(map).map((column) => `${map.key} ${column.name}`));
    const difference = this.difference();
    const [low, high] = this.viewer.rangeOf(map, difference);
    const reach = Math.max(Math.abs(low), Math.abs(high), (map.range || [0, 0])[1]);
    for (const [name, value] of [["low", low], ["high", high]]) {
      this.find(name).value = Number(value.toPrecision(4));
      const slider = this.find(`${name}-slider`);
      Object.assign(slider, { min: difference ? -2 * reach : 0, max: 1.5 * reach, step: reach / 200 });
      slider.value = value;
    }
    this.find("map-name").textContent = `${map.label}: ${map.name}${map.unit ? ` [${map.unit}]` : ""}`;
    this.find("colours").value = this.viewer.state.chosen[map.key] || map.colours;
    this.find("colours").disabled = difference;
    drawBar(this.find("bar"), this.viewer.tableOf(map, difference), low, high, map.unit);
  }

  hovered(place) {
    const { map, slice } = this.viewer.state;
    const line = this.find("hover");
    const voxel = place ? this.viewer.volume.at(...place) : -1;
    if (voxel < 0) { line.textContent = place ? "outside the mask" : " "; return; }
    const values = this.viewer.columnsOf(map).map((column) => {
      const value = (this.viewer.arrays.now(`${map.key} ${column.name}`) || [])[voxel];
      return `${column.name} ${map.key === "outcome" ? this.viewer.about.outcomes[value].short : shortNumber(value * map.scale, this.viewer.about.digits)}`;
    });
    line.textContent = `voxel ${place.map((x, axis) => x + this.viewer.about.origin[axis]).join(", ")}: ${map.label} ${values.join(" · ")} ${map.unit}`;
    if (this.find("follow").checked && slice === place[2]) this.viewer.moveTo(...place);
  }

  // Small pictures of every map of every fit.
  overview() {
    const { about, arrays, volume } = this.viewer;
    const head = element("tr", [element("th", "map"), ...about.columns.map((column) => element("th", column.name, { scope: "col" }))]);
    this.small = [];
    const rows = about.maps.map((map) => {
      const cells = about.columns.map((column) => {
        if (!arrays.has(`${map.key} ${column.name}`)) return element("td", "–");
        const canvas = element("canvas", "", { role: "img", "aria-label": `${map.name}, ${column.name}`, class: "small" });
        const ratio = (volume.size[1] * volume.pixel[1]) / (volume.size[0] * volume.pixel[0]);
        canvas.style.aspectRatio = `${1 / Math.min(1.4, Math.max(0.5, ratio))}`;
        this.small.push(new Panel(this.viewer, column, canvas, true, map));
        canvas.addEventListener("click", () => { this.viewer.choose(map); this.find("viewer").scrollIntoView(); });
        return element("td", [canvas]);
      });
      return element("tr", [element("th", map.label, { scope: "row", title: map.name }), ...cells]);
    });
    this.find("overview").replaceChildren(head, ...rows);
    this.small.forEach((panel) => panel.draw());
    this.viewer.small = this.small;
  }
}

begin().catch((error) => {
  document.getElementById("failed").hidden = false;
  document.getElementById("failed").textContent = `This page could not be shown: ${error.message}. It needs a browser of 2023 or later (DecompressionStream).`;
  throw error;
});
