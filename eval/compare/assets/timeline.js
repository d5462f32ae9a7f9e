// The timelines: lanes of all runs over one recording, and the delays of the words of one run.

const PARTS = data.parts; // the waiting for audio, then the stages of the systems
const partClass = (k) => `part-${k && ((k - 1) % 7) + 1}`; // page.css has seven colours of stages
const READINGS = [
  { name: "SimulEval's elapsed time", text: "SimulEval's elapsed time: all computing so far is added to the audio heard, as if the speaker stopped meanwhile." },
  { name: "real time", text: "Real time: computing goes on while the speaker does, so a word is late only by what could not be done in time." },
];
const EDGE = 8; // pixels left and right of the time axis, the same in both drawings,
const roomIn = (width) => Math.min(150, width * 0.22); // and on the right, for the last words
const timePlace = (width, last) => (time) => EDGE + (time / last) * (width - 2 * EDGE - roomIn(width));
const pen = document.createElement("canvas").getContext("2d");
function widthOf(text, font = "12px") {
  pen.font = `${font} system-ui, sans-serif`;
  return pen.measureText(text).width;
}
// Words put into lines no wider than `width`, unless a word alone is.
function linesOf(texts, width, font) {
  const lines = [];
  for (const text of texts) {
    const longer = lines.length ? `${lines[lines.length - 1]} ${text}` : text;
    if (lines.length && widthOf(longer, font) <= width) lines[lines.length - 1] = longer;
    else lines.push(text);
  }
  return lines;
}
const ms = (value) => `${value.toFixed(value < 100 ? 2 : 1)} ms`;
const seconds = (value) => `${(value / 1000).toFixed(2)} s`;

// When the computing for each segment began: [start in ms, parts]. Elapsed: after all computing
// before it was added to the audio; real time: when its audio was there and the one before done.
function computing(run, reading) {
  let spent = 0, free = 0;
  return run.segments.map(([audio, , parts]) => {
    const start = reading === 0 ? audio + spent : Math.max(audio, free);
    const length = parts.reduce((a, b) => a + b, 0);
    spent += length;
    free = start + length;
    return { start, end: start + length, parts };
  });
}

// Blocks for parts of a time, one after the other. Of parts too short to see only the longest is
// drawn, at the least width that shows, so that it is not hidden by the others.
function parts(drawing, lengths, start, place, y, height, first) {
  const longest = Math.max(...lengths);
  let left = start;
  lengths.forEach((length, k) => {
    const width = place(left + length) - place(left);
    if (length > 0 && (width > 0.4 || length === longest))
      drawing.append(svg("rect", { x: place(left), y, width: Math.max(1, width), height, class: partClass(k + first) }));
    left += length;
  });
}

const endsOf = (word, reading) => word[3 + reading];
const lengthsOf = (ends) => ends.map((end, i) => end - (i ? ends[i - 1] : 0));

function timelines() {
  if (!data.utterances.length) return;
  const chosen = { utterance: 0, run: 0, reading: 1, bars: 0 };
  const lanes = document.getElementById("lanes");
  const words = document.getElementById("words");
  const utterance = () => data.utterances[chosen.utterance];
  const drawLanes = drawAtAnyWidth(lanes, paintLanes);
  const drawWords = drawAtAnyWidth(words, paintWords);

  // The end of the time axis, in ms: the recording, and every word and every computation.
  function end() {
    const ends = utterance().runs.flatMap((run) => [
      ...computing(run, chosen.reading).map((c) => c.end),
      ...run.words.map((word) => endsOf(word, chosen.reading).at(-1)),
    ]);
    return Math.max(1, utterance().seconds * 1000, ...ends);
  }

  function timeAxis(drawing, width, last, bottom, top) {
    const place = timePlace(width, last);
    for (const tick of linearTicks(0, last / 1000, Math.max(2, width / 80))) {
      const x = place(tick * 1000);
      drawing.append(
        svg("line", { x1: x, x2: x, y1: top, y2: bottom, class: "grid" }),
        svg("text", { x, y: 12, "text-anchor": x < 20 ? "start" : x > width - 25 ? "end" : "middle", class: "muted" }, `${shown(tick)} s`));
    }
    return place;
  }

  function recordingEnd(drawing, place, top, bottom) {
    const x = place(utterance().seconds * 1000);
    drawing.append(svg("line", { x1: x, x2: x, y1: top, y2: bottom, class: "limit" }));
  }

  function waveform(drawing, place, top, height) {
    const stretches = utterance().waveform;
    const peak = Math.max(1, ...stretches.flat().map(Math.abs));
    const x = (i) => place((utterance().seconds * 1000 * i) / Math.max(1, stretches.length - 1));
    const y = (value) => top + height / 2 - (value / peak) * (height / 2 - 1);
    const outline = [
      ...stretches.map(([, high], i) => [x(i), y(high) - 0.5]),
      ...stretches.map(([low], i) => [x(i), y(low) + 0.5]).reverse(),
    ];
    if (outline.length) drawing.append(svg("path", { class: "wave", d: `${path(outline)}Z` }));
  }

  // Words that were written together, broken into lines, each line in the first row with room.
  function placeWords(run, place, width) {
    const groups = new Map();
    for (const word of run.words) {
      const key = `${word[1]} ${endsOf(word, chosen.reading).at(-1)}`;
      if (!groups.has(key)) groups.set(key, { time: endsOf(word, chosen.reading).at(-1), texts: [] });
      groups.get(key).texts.push(word[0]);
    }
    const rows = [];
    const placed = [];
    for (const { time, texts } of groups.values()) {
      let row = 0;
      const most = Math.max(roomIn(width), Math.min(width * 0.45, width - place(time)));
      for (const text of linesOf(texts, most)) {
        const size = widthOf(text);
        const x = Math.max(0, Math.min(place(time), width - size));
        while (rows[row] > x) row++;
        rows[row] = x + size + 8;
        placed.push({ x, at: place(time), row, text });
        row++;
      }
    }
    return { placed, rows: rows.length };
  }

  function lane(drawing, run, place, top, width, items) {
    const title = run.name + (run.forced ? " (writes the reference)" : "");
    const lines = linesOf(title.split(" "), width - EDGE, "600 13px");
    lines.forEach((line, i) => drawing.append(svg("text", { x: EDGE, y: top + 12 + 16 * i, class: "title" }, line)));
    const boxes = top + 3 + 16 * lines.length;
    const cost = boxes + 20;
    const spent = computing(run, chosen.reading);
    let before = 0;
    run.segments.forEach(([audio, written], i) => {
      const [x, size] = [place(before), Math.max(1.5, place(audio) - place(before))];
      drawing.append(svg("rect", { x, y: boxes, width: size, height: 16, class: written ? "box-write" : "box-read" }));
      if (written && size > 11)
        drawing.append(svg("text", { x: x + size / 2, y: boxes + 12, "text-anchor": "middle", class: "on-write" }, String(written)));
      before = Math.max(before, audio);
      parts(drawing, spent[i].parts, spent[i].start, place, cost, 9, 1);
      const said = [
        run.name,
        `${written ? `WRITE ${written}` : "READ"} after ${seconds(audio)} of audio`,
        `computing from ${seconds(spent[i].start)}: ${spent[i].parts.map((part, k) => `${PARTS[k + 1]} ${ms(part)}`).join(", ")}`,
      ];
      items.push({ x: x + size / 2, half: size / 2, y: boxes + 8, text: said.join("\n") });
    });
    const { placed, rows } = placeWords(run, place, width);
    for (const { x, at, row, text } of placed) {
      const y = cost + 25 + 16 * row;
      drawing.append(
        svg("line", { x1: at, x2: at, y1: cost + 10, y2: y - 9, class: "grid" }),
        svg("text", { x, y, class: "halo" }, text));
    }
    return cost + 25 + 16 * Math.max(1, rows);
  }

  function paintLanes(width) {
    const { runs } = utterance();
    const drawing = svg("svg");
    const grid = svg("g");
    const content = svg("g");
    drawing.append(grid, content);
    const last = end();
    const items = [];
    const place = timePlace(width, last);
    waveform(content, place, 20, 56);
    let bottom = 92;
    for (const run of runs) bottom = lane(content, run, place, bottom, width, items) + 12;
    timeAxis(grid, width, last, bottom, 18);
    recordingEnd(grid, place, 18, bottom);
    fill(drawing, { viewBox: `0 0 ${width} ${bottom}`, height: bottom }, []);
    lanes.replaceChildren(drawing);
    pickable(lanes, drawing, items, [12, 24], "Segments and decisions of every run.");
  }

  function paintWords(width) {
    const run = utterance().runs[chosen.run];
    words.replaceChildren();
    if (!run || !run.words.length) {
      words.append(html("p", {}, "This run wrote no words."));
      return;
    }
    const rows = run.words.map((word) => ({ word, ends: endsOf(word, chosen.reading) }));
    const whole = chosen.bars === 0;
    const longest = Math.max(...rows.map(({ ends }) => ends.at(-1) - ends[0]), 0.001);
    const drawing = svg("svg");
    const bottom = 22 + 19 * rows.length;
    let place;
    if (whole) {
      const last = end();
      place = timeAxis(drawing, width, last, bottom, 18);
      recordingEnd(drawing, place, 18, bottom);
    } else {
      place = timePlace(width, longest);
      for (const tick of linearTicks(0, longest, Math.max(2, width / 120))) {
        drawing.append(
          svg("line", { x1: place(tick), x2: place(tick), y1: 18, y2: bottom, class: "grid" }),
          svg("text", { x: place(tick), y: 12, "text-anchor": tick ? "middle" : "start", class: "muted" }, `${shown(tick)} ms`));
      }
    }
    const items = rows.map(({ word, ends }, row) => {
      const y = 24 + 19 * row;
      const lengths = lengthsOf(ends);
      if (whole) parts(drawing, [lengths[0]], 0, place, y, 13, 0);
      parts(drawing, lengths.slice(1), whole ? ends[0] : 0, place, y, 13, 1);
      const tip = place(ends.at(-1) - (whole ? 0 : ends[0]));
      const inside = tip + 6 + widthOf(word[0]) > width;
      drawing.append(svg("text", {
        x: inside ? place(ends[0]) - 5 : tip + 5, y: y + 11, "text-anchor": inside ? "end" : "start", class: inside ? "" : "halo",
      }, word[0]));
      const text = [`${word[0]}: written at ${ms(ends.at(-1))}`, ...PARTS.map((part, k) => `${part} ${ms(lengths[k])}`)].join("\n");
      return { x: tip, y: y + 6, text };
    });
    fill(drawing, { viewBox: `0 0 ${width} ${bottom}`, height: bottom }, []);
    words.append(drawing);
    pickable(words, drawing, items, [4 * width, 12], "What each word waited for.");
  }

  function fillTable() {
    const run = utterance().runs[chosen.run];
    document.getElementById("word-rows").replaceChildren(...(run ? run.words : []).map((word) => {
      const ends = endsOf(word, chosen.reading);
      const numbers = [word[2], ...lengthsOf(ends), ends.at(-1)];
      return html("tr", {}, html("th", { scope: "row" }, word[0]),
        ...numbers.map((value) => html("td", { class: "number" }, value.toFixed(2))));
    }));
  }

  function draw() {
    document.getElementById("said").textContent = utterance().source;
    document.getElementById("reference").textContent = utterance().reference;
    document.getElementById("reading-text").textContent = READINGS[chosen.reading].text;
    fillTable();
    drawLanes();
    drawWords();
  }
  function choose(key) {
    return (index) => {
      chosen[key] = index;
      draw();
    };
  }
  function chooseUtterance(index) {
    chosen.utterance = index;
    const { runs } = utterance();
    chosen.run = Math.min(chosen.run, Math.max(0, runs.length - 1));
    options("choose-run", runs.map((run) => run.name), choose("run"), chosen.run);
    draw();
  }
  options("choose-utterance", data.utterances.map((u) => `${u.id} (${shown(u.seconds)} s)`), chooseUtterance);
  options("choose-reading", READINGS.map((reading) => reading.name), choose("reading"), chosen.reading);
  options("choose-bars", ["whole delay", "computing time only"], choose("bars"));
  chooseUtterance(0);
}

timelines();
