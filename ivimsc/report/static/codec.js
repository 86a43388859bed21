// Arrays of the page: text to typed arrays, when they are first asked for. How they were packed: report/packing.py.

class Arrays {
  constructor(index) {
    this.index = index; // name -> {id, n, planes, delta, low, step, k}
    this.found = new Map(); // name -> typed array, once it is unpacked
    this.waiting = new Map(); // name -> promise of it
  }

  has(name) {
    return name in this.index;
  }

  // The array where it is unpacked already, else undefined.
  now(name) {
    return this.found.get(name);
  }

  // A promise of the array: Float32Array of values, or Uint16Array of whole numbers.
  get(name) {
    if (!this.waiting.has(name)) {
      const promise = unpack(this.index[name]).then((values) => {
        this.found.set(name, values);
        return values;
      });
      this.waiting.set(name, promise);
    }
    return this.waiting.get(name);
  }

  getAll(names) {
    return Promise.all(names.filter((name) => this.has(name)).map((name) => this.get(name)));
  }
}

async function unpack(about) {
  const element = document.getElementById(about.id);
  const bytes = await inflate(fromBase64(element.textContent));
  element.textContent = ""; // the text is not needed any more
  const codes = joined(bytes, about.n, about.planes);
  if (about.delta) undoDifferences(codes);
  return about.k === undefined ? codes : toValues(codes, about);
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function joined(bytes, n, planes) {
  const codes = new Uint16Array(n);
  if (planes === 1) codes.set(bytes.subarray(0, n));
  else for (let i = 0; i < n; i++) codes[i] = bytes[i] | (bytes[n + i] << 8);
  return codes;
}

function undoDifferences(codes) {
  let last = 0;
  for (let i = 0; i < codes.length; i++) {
    const d = codes[i];
    last = (last + ((d >>> 1) ^ -(d & 1))) & 0xffff;
    codes[i] = last;
  }
}

function toValues(codes, about) {
  const values = new Float32Array(codes.length);
  let top = 0;
  for (let i = 0; i < codes.length; i++) if (codes[i] > top) top = codes[i];
  const table = new Float32Array(top + 1); // one sinh for each code, not for each voxel
  table[0] = NaN;
  for (let c = 1; c <= top; c++) table[c] = Math.sinh((c + about.low) / about.k) * about.k * about.step;
  for (let i = 0; i < codes.length; i++) values[i] = table[codes[i]];
  return values;
}
