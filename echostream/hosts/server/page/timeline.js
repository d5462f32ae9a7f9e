// The last seconds as a drawing: what was heard, the words where they were said, and below it the line
// of READ and WRITE. A slider goes back in time.
const SECOND = 40; // Pixels at least, or words would have no room; at most 20 s are shown.
const SLOT_MS = 20; // Of audio, of which the peak is kept.
const LANES = 3; // Of words, one above the other where they are close together.
const ROW = 18; // Pixels of a lane.
const WAVE = 44; // Half of the waveform's height.

const clock = (ms) =>
  `${Math.floor(ms / 60000)}:${String(Math.floor(ms / 1000) % 60).padStart(2, "0")}`;

export class Timeline {
  constructor(canvas, slider) {
    this.canvas = canvas;
    this.slider = slider;
    slider.addEventListener("input", () => this.look());
    slider.addEventListener("focus", () => this.look());
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.clear();
  }

  clear() {
    this.peaks = []; // By slot.
    this.words = [];
    this.heardMs = 0;
    this.slider.max = this.slider.value = 0;
    this.draw();
  }

  // Audio to ``ms``, its peak from 0 to 1.
  heard(peak, ms) {
    const first = Math.floor(this.heardMs / SLOT_MS);
    for (let slot = first; slot * SLOT_MS < ms; slot++) {
      this.peaks[slot] = Math.max(this.peaks[slot] ?? 0, peak);
    }
    this.heardMs = ms;
    this.follow();
  }

  wrote(words) {
    this.words.push(...words);
    this.follow();
  }

  // The newest is shown, unless somebody looks at what was before.
  follow() {
    const { slider } = this;
    const atEnd = Number(slider.value) >= Number(slider.max);
    slider.max = Math.ceil(this.heardMs / 1000);
    if (atEnd) slider.value = slider.max;
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = undefined;
      this.draw();
    });
  }

  // What is shown: from when to when, in ms, and the words in it.
  shown() {
    const span = 1000 * Math.max(1, Math.min(20, Math.floor(this.canvas.clientWidth / SECOND)));
    const end = Math.max(span, Number(this.slider.value) * 1000);
    const begin = end - span;
    return [begin, end, this.words.filter((word) => word.end_ms > begin && word.end_ms <= end)];
  }

  // Somebody goes to a place in time, or comes to the slider: only then is there something to be told.
  look() {
    const [begin, end, words] = this.shown();
    this.slider.setAttribute("aria-valuetext",
      `${clock(begin)} to ${clock(end)}: ${words.map((word) => word.text).join(" ") || "no words"}`);
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const [begin, end, seen] = this.shown();
    const pixels = devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    canvas.width = width * pixels;
    canvas.height = height * pixels;
    const pen = canvas.getContext("2d");
    pen.scale(pixels, pixels);
    pen.font = `13px ${getComputedStyle(canvas).fontFamily}`;
    const style = getComputedStyle(document.documentElement);
    const [front, quiet, line, strong] = ["front", "quiet", "line", "strong"].map((name) =>
      style.getPropertyValue(`--${name}`));
    const place = (ms) => Math.round(((ms - begin) / (end - begin)) * width);

    const middle = LANES * ROW + 6 + WAVE;
    pen.fillStyle = quiet;
    for (let x = 0, ms = begin; x < width && ms < this.heardMs; ms = begin + (++x / width) * (end - begin)) {
      // Speech is mostly far below its peak, and yet to be seen.
      const half = Math.max(0.5, WAVE * (this.peaks[Math.floor(ms / SLOT_MS)] ?? 0) ** 0.7);
      pen.fillRect(x, middle - half, 1, 2 * half);
    }

    const free = Array(LANES).fill(-Infinity);
    for (const { text, end_ms } of seen) {
      const right = place(end_ms);
      const left = Math.max(0, right - pen.measureText(text).width);
      const lane = free.findIndex((until) => until < left);
      pen.fillStyle = line;
      pen.fillRect(right, 0, 1, middle + WAVE);
      if (lane < 0) continue; // There is no room; the text below has it.
      free[lane] = left + pen.measureText(text).width + 6;
      pen.fillStyle = front;
      pen.fillText(text, left, (LANES - lane) * ROW - 4);
    }

    const row = middle + WAVE + 14;
    pen.fillStyle = line; // READ, for as long as audio came,
    pen.fillRect(0, row, Math.max(0, Math.min(width, place(this.heardMs))), 4);
    for (const word of this.words) { // and WRITE, from where it was said to what had been heard.
      if (word.written_ms <= begin || word.end_ms > end) continue;
      pen.fillStyle = strong;
      pen.fillRect(place(word.written_ms) - 2, row - 5, 4, 17);
      pen.globalAlpha = 0.35;
      pen.fillRect(place(word.end_ms), row + 4, Math.max(1, place(word.written_ms) - place(word.end_ms)), 4);
      pen.globalAlpha = 1;
    }
    pen.fillStyle = quiet;
    for (let second = Math.ceil(begin / 5000) * 5; second * 1000 < end; second += 5) {
      pen.fillText(clock(second * 1000), place(second * 1000) + 2, height - 3);
      pen.fillRect(place(second * 1000), row + 12, 1, height - row - 12);
    }
  }
}
