// The box around the voxels, and how its slices lie on the screen (orientation.py).

class Volume {
  constructor(about, inside) {
    this.about = about;
    [this.nx, this.ny, this.nz] = about.box;
    this.lookup = new Int32Array(inside.length); // number of the voxel at a place, -1 for none; x fastest
    this.places = new Int32Array(inside.reduce((sum, one) => sum + one, 0));
    let next = 0;
    for (let place = 0; place < inside.length; place++) {
      this.lookup[place] = inside[place] ? next : -1;
      if (inside[place]) this.places[next++] = place;
    }
    const { across, flip_across: flipAcross, flip_down: flipDown } = about.view;
    this.across = across;
    this.flip = [flipAcross, flipDown];
    this.size = across === 0 ? [this.nx, this.ny] : [this.ny, this.nx]; // of the screen: columns, rows
    const spacing = about.spacing;
    this.pixel = across === 0 ? [spacing[0], spacing[1]] : [spacing[1], spacing[0]]; // [mm]
  }

  // Number of the voxel at i, j, k of the box; -1 where there is none.
  at(i, j, k) {
    if (i < 0 || j < 0 || k < 0 || i >= this.nx || j >= this.ny || k >= this.nz) return -1;
    return this.lookup[i + this.nx * (j + this.ny * k)];
  }

  // i, j of the box at the column u and the row v of the screen.
  fromScreen(u, v) {
    const a = this.flip[0] ? this.size[0] - 1 - u : u;
    const d = this.flip[1] ? this.size[1] - 1 - v : v;
    return this.across === 0 ? [a, d] : [d, a];
  }

  toScreen(i, j) {
    const [a, d] = this.across === 0 ? [i, j] : [j, i];
    return [this.flip[0] ? this.size[0] - 1 - a : a, this.flip[1] ? this.size[1] - 1 - d : d];
  }

  // i, j, k in the box of a voxel.
  placeOf(voxel) {
    const place = this.places[voxel];
    return [place % this.nx, Math.floor(place / this.nx) % this.ny, Math.floor(place / (this.nx * this.ny))];
  }

  // World coordinates of a place in the box.
  world(i, j, k) {
    const [x, y, z] = [i, j, k].map((value, axis) => value + this.about.origin[axis]);
    return this.about.affine.map((row) => row[0] * x + row[1] * y + row[2] * z + row[3]);
  }

  // A position in words, as "R 12.0, A 30.1, S 4.0 mm".
  position(i, j, k) {
    if (!this.about.view.plane) return "";
    const letters = [["L", "R"], ["P", "A"], ["I", "S"]];
    const words = this.world(i, j, k).map((x, axis) => `${letters[axis][x >= 0 ? 1 : 0]} ${Math.abs(x).toFixed(1)}`);
    return `${words.join(", ")} ${this.about.unit || "(unit unknown)"}`;
  }
}
