// One voxel: what was measured, every fit's curve, residuals, parameters with their SD, outcome, spectrum.

const CURVE_POINTS = 121;

class Inspector {
  constructor(viewer) {
    this.viewer = viewer;
    this.about = viewer.about;
    this.arrays = viewer.arrays;
    this.n = viewer.volume.places.length;
    const largest = Math.max(...this.about.bvalues);
    this.grid = Array.from({ length: CURVE_POINTS }, (_, k) => (largest * 1.02 * k) / (CURVE_POINTS - 1));
  }

  // Names of all arrays that a voxel needs.
  needed() {
    const perFit = this.about.columns.flatMap((column) => [
      ...this.about.maps.map((map) => `${map.key} ${column.name}`),
      ...["counts", "atoms", "shares"].map((part) => `spectrum ${part} ${column.name}`),
    ]);
    return ["signals", "images", "regions", ...perFit];
  }

  async load() {
    await this.arrays.getAll(this.needed());
    for (const name of Object.keys(this.about.spectra)) this.offsets(name);
    this.loaded = true;
  }

  // Where the atoms of each voxel begin.
  offsets(name) {
    const counts = this.arrays.now(`spectrum counts ${name}`);
    const offsets = new Uint32Array(counts.length + 1);
    for (let v = 0; v < counts.length; v++) offsets[v + 1] = offsets[v] + counts[v];
    this.starts = { ...this.starts, [name]: offsets };
  }

  value(key, column, voxel) {
    const values = this.arrays.now(`${key} ${column.name}`);
    return values ? values[voxel] : undefined;
  }

  // The curve of a fit at some b-values; its own model.
  curve(column, voxel, bvalues) {
    const keys = ["s0", "f", "d", "dstar", "k", "f2", "dstar2"];
    const [s0, f, d, dstar, k = 0, f2 = 0, dstar2 = 0] = keys.map((key) => this.value(key, column, voxel));
    if (column.mono || f === undefined) return bvalues.map((b) => s0 * Math.exp(-b * d));
    const part = (share, rate, b) => (share === 0 ? 0 : share * Math.exp(-b * rate)); // an empty part has no rate
    if (dstar === undefined) return bvalues.map((b) => (b > 0 ? s0 * part(1 - f, d, b) : s0)); // simplified
    const turn = k > 0 && d > 0 ? 3 / (d * k) : Infinity; // where the exponent of the kurtosis would turn up
    const bent = (b) => (k ? Math.exp((Math.min(b, turn) * d) ** 2 * k / 6 + Math.max(b - turn, 0) * d) : 1);
    return bvalues.map((b) => s0 * (part(1 - f - f2, d, b) * bent(b) + part(f, dstar, b) + part(f2, dstar2, b)));
  }

  measured(voxel) {
    const signals = this.arrays.now("signals");
    return this.about.bvalues.map((_, b) => signals[b * this.n + voxel]);
  }

  show() {
    const [i, j, k] = this.viewer.state.voxel;
    const voxel = this.viewer.volume.at(i, j, k);
    const [x, y, z] = [i, j, k].map((value, axis) => value + this.about.origin[axis]);
    document.getElementById("voxel-name").textContent = `Voxel ${x}, ${y}, ${z}`;
    document.getElementById("voxel-place").textContent = [this.viewer.volume.position(i, j, k), this.region(voxel)].filter(Boolean).join(" · ");
    if (!this.loaded) return;
    this.fillTable(voxel);
    this.fillOutcomes(voxel);
    const measured = voxel < 0 ? [] : this.measured(voxel);
    this.fillSignals(voxel, measured);
    this.fillCharts(voxel, measured);
  }

  region(voxel) {
    const regions = this.arrays.now("regions");
    if (voxel < 0) return "outside the mask";
    return regions && regions[voxel] ? this.about.regions[regions[voxel] - 1] : "";
  }

  number(value, map) {
    return value === undefined ? "" : shortNumber(value * map.scale, this.about.digits);
  }

  fillTable(voxel) {
    const rows = [];
    for (const map of this.about.maps) {
      if (map.key === "outcome" || map.key.endsWith("std")) continue;
      const error = this.about.maps.find((one) => one.key === `${map.key}std`);
      const cells = this.about.columns.map((column) => {
        const value = voxel < 0 ? undefined : this.value(map.key, column, voxel);
        const sd = error && voxel >= 0 ? this.value(error.key, column, voxel) : undefined;
        const text = this.number(value, map) + (!Number.isFinite(sd) || value === undefined ? "" : ` ± ${shortNumber(sd * error.scale, 2)}`);
        const cell = element("td", text, { "data-map": map.key, "data-fit": column.name });
        if (map.key === "dstar" && voxel >= 0 && this.value("outcome", column, voxel) === 4) {
          cell.className = "meaningless";
          cell.title = "D* is not identifiable here: its value means nothing";
        }
        return cell;
      });
      rows.push(element("tr", [element("th", map.label + (map.unit ? ` [${map.unit}]` : ""), { scope: "row", title: map.name }), ...cells]));
    }
    document.getElementById("voxel-rows").replaceChildren(...rows);
  }

  // How each fit ended: the code in the table, and once for each outcome its sentence and what to do.
  fillOutcomes(voxel) {
    const fits = this.about.columns.filter((column) => !column.truth && voxel >= 0);
    const outcomes = new Map(fits.map((column) => [column.name, this.about.outcomes[this.value("outcome", column, voxel)]]));
    const swatch = (outcome) => element("span", "", { class: "swatch", style: `background:${outcome.colour}` });
    const cells = this.about.columns.map((column) => {
      const outcome = outcomes.get(column.name);
      const content = outcome ? [swatch(outcome), ` ${outcome.code} ${outcome.short}`] : "";
      return element("td", content, { "data-map": "outcome", "data-fit": column.name, class: "wrapped" });
    });
    document.getElementById("voxel-rows").append(element("tr", [element("th", "outcome", { scope: "row" }), ...cells]));
    const lines = [...new Set(outcomes.values())].map((outcome) => {
      const names = fits.map((column) => column.name).filter((name) => outcomes.get(name) === outcome);
      return element("li", [swatch(outcome), element("b", ` ${names.join(", ")}: `), `${outcome.sentence}. What to do: ${outcome.advice}.`]);
    });
    document.getElementById("voxel-outcomes").replaceChildren(...lines);
  }

  fillSignals(voxel, measured) {
    const fits = this.about.columns.filter((column) => !column.truth);
    const curves = fits.map((column) => (voxel < 0 ? [] : this.curve(column, voxel, this.about.bvalues)));
    const rows = measured.map((signal, b) => {
      const cells = curves.flatMap((curve) => [element("td", shortNumber(curve[b], 4)), element("td", shortNumber(signal - curve[b], 2))]);
      return element("tr", [element("th", `${shortNumber(this.about.bvalues[b])}`, { scope: "row" }), element("td", `${this.about.weights[b]}`), element("td", shortNumber(signal, 4), { "data-b": b }), ...cells]);
    });
    document.getElementById("voxel-signals").replaceChildren(...rows);
  }

  fillCharts(voxel, measured) {
    const { bvalues, weights, sigma, columns } = this.about;
    const noise = weights.map((n) => sigma / Math.sqrt(n));
    fill("measured", voxel < 0 ? { b: [], s: [], low: [], high: [] } : { b: bvalues, s: measured, low: measured.map((s, b) => s - noise[b]), high: measured.map((s, b) => s + noise[b]) });
    this.fillImages(voxel);
    for (const column of columns) {
      const curve = voxel < 0 ? [] : this.curve(column, voxel, this.grid);
      fill(`curve ${column.name}`, { b: voxel < 0 ? [] : this.grid, s: curve });
      if (column.truth) continue;
      const fitted = voxel < 0 ? [] : this.curve(column, voxel, bvalues);
      fill(`residual ${column.name}`, { b: voxel < 0 ? [] : bvalues, r: fitted.map((s, b) => (measured[b] - s) / (noise[b] || 1)) });
      if (column.name in this.about.spectra) this.fillSpectrum(column, voxel);
    }
  }

  fillImages(voxel) {
    const images = this.arrays.now("images");
    if (!images) return;
    const { shell, numbers } = this.about.images;
    const here = voxel < 0 ? [] : shell.map((_, k) => images[k * this.n + voxel]);
    fill("images", { b: here.map((_, k) => this.about.bvalues[shell[k]]), s: here, n: here.map((_, k) => numbers[k]) });
  }

  fillSpectrum(column, voxel) {
    const [d, dstar] = this.about.spectra[column.name];
    const [atoms, shares] = ["atoms", "shares"].map((part) => this.arrays.now(`spectrum ${part} ${column.name}`));
    const starts = this.starts[column.name];
    const [from, to] = voxel < 0 ? [0, 0] : [starts[voxel], starts[voxel + 1]];
    const at = Array.from({ length: to - from }, (_, k) => from + k);
    const x = at.map((k) => Math.max(atoms[k] < d.length ? d[atoms[k]] : dstar[atoms[k] - d.length], 0.01));
    fill(`spectrum ${column.name}`, { x, y: at.map((k) => shares[k] / 10), zero: at.map(() => 0) });
  }
}

function fill(name, data) {
  for (const made of Bokeh.documents) {
    const source = made.get_model_by_name(name);
    if (source) source.data = data;
  }
}

function element(tag, content = "", attributes = {}) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (Array.isArray(content)) made.append(...content);
  else made.textContent = content;
  return made;
}
