// Colours of maps: values to pixels, and the bar that tells them.

const NOT_FITTED = pixel(255, 0, 255);
const UNKNOWN_DIFFERENCE = pixel(154, 154, 154);
const OUTSIDE = pixel(0, 0, 0);

function pixel(red, green, blue) {
  return (255 << 24) | (blue << 16) | (green << 8) | red; // little-endian RGBA, as ImageData has it
}

function fromHex(text) {
  const value = parseInt(text.slice(1), 16);
  return pixel(value >> 16, (value >> 8) & 255, value & 255);
}

class Colours {
  constructor(about) {
    this.tables = {};
    for (const [name, text] of Object.entries(about.luts)) {
      const bytes = fromBase64(text);
      this.tables[name] = Int32Array.from({ length: 256 }, (_, c) => pixel(bytes[3 * c], bytes[3 * c + 1], bytes[3 * c + 2]));
    }
    this.outcomes = Int32Array.from(about.outcomes, (outcome) => fromHex(outcome.colour));
    this.meaningless = fromHex(about.meaningless);
  }
}

// Numbers that a reader can take in, for ticks between low and high.
function ticks(low, high, wanted = 5) {
  const rough = (high - low) / wanted;
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const result = [];
  for (let x = Math.ceil(low / step - 1e-9) * step; x <= high + 1e-9 * step; x += step) result.push(x);
  return result;
}

function shortNumber(value, digits = 3) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6 || size < 1e-3) return value.toExponential(digits - 1);
  return size >= 10 ** digits ? Math.round(value).toString() : Number(value.toPrecision(digits)).toString();
}

function drawBar(canvas, table, low, high, label) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, 34];
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const style = getComputedStyle(document.body);
  const margin = 18;
  const inner = width - 2 * margin;
  for (let x = 0; x < inner; x++) {
    const colour = table[Math.round((255 * x) / Math.max(inner - 1, 1))];
    context.fillStyle = `rgb(${colour & 255},${(colour >> 8) & 255},${(colour >> 16) & 255})`;
    context.fillRect(margin + x, 2, 1.5, 12);
  }
  context.fillStyle = style.color;
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "center";
  for (const value of ticks(low, high)) {
    const x = margin + (inner * (value - low)) / (high - low || 1);
    context.fillRect(x - 0.5, 14, 1, 4);
    context.fillText(shortNumber(value), x, 29);
  }
  canvas.setAttribute("aria-label", `Colours from ${shortNumber(low)} to ${shortNumber(high)} ${label}`);
}
