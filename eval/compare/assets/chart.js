"use strict";
// Drawing: elements, axes, and the chart of curves that the page uses four times.

const data = JSON.parse(document.getElementById("data").textContent);
const SYSTEM_COLOURS = 7; // as many as page.css has
const DASHES = ["", "7 4", "9 3 2 3", "2 3"];

// An element with attributes and children; text goes in as text, never as markup.
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const html = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

// A function that draws at the width there is; it is called again when the window changes.
function drawAtAnyWidth(holder, draw) {
  const now = () => draw(holder.clientWidth);
  window.addEventListener("resize", now);
  return now;
}

// Ticks at 1, 2 or 5 times a power of ten.
function linearTicks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const ticks = [];
  for (let k = Math.ceil(low / step); k * step <= high + step / 1e6; k++) ticks.push(k * step);
  return ticks;
}

function logTicks(low, high) {
  const factors = high / low > 200 ? [1] : [1, 2, 5];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++)
    for (const factor of factors) ticks.push(factor * 10 ** power);
  return ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
}

// From values to pixels. `spec`: log, zero (start at 0), title.
function axis(values, from, to, spec) {
  let low = Math.min(...values), high = Math.max(...values);
  const change = spec.log ? Math.log10 : Number;
  if (spec.log) {
    [low, high] = [low / 1.3, high * 1.3];
  } else {
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    [low, high] = [spec.zero ? 0 : low - room, high + room];
  }
  const span = change(high) - change(low);
  const place = (value) => from + ((change(value) - change(low)) / span) * (to - from);
  const count = Math.max(2, Math.abs(to - from) / (to > from ? 80 : 50));
  const ticks = spec.log ? logTicks(low, high) : linearTicks(low, high, count);
  return { place, ticks };
}

const shown = (value) => String(Number(value.toPrecision(4)));

const MARKERS = [
  (x, y, r) => svg("circle", { cx: x, cy: y, r }),
  (x, y, r) => svg("rect", { x: x - r, y: y - r, width: 2 * r, height: 2 * r }),
  (x, y, r) => svg("path", { d: `M${x} ${y - r * 1.2}l${r * 1.2} ${r * 2.1}h${-r * 2.4}z` }),
  (x, y, r) => svg("path", { d: `M${x} ${y - r * 1.4}l${r * 1.4} ${r * 1.4}l${-r * 1.4} ${r * 1.4}l${-r * 1.4} ${-r * 1.4}z` }),
  (x, y, r) => svg("path", { d: `M${x} ${y + r * 1.2}l${r * 1.2} ${-r * 2.1}h${-r * 2.4}z` }),
];
function marker(kind, x, y, r, hollow) {
  return fill(MARKERS[kind % MARKERS.length](x, y, r), { class: hollow ? "mark hollow" : "mark" }, []);
}
const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
const styleOf = (system) => ({ class: `system-${system % SYSTEM_COLOURS}` });
const dashOf = (system) => DASHES[system % DASHES.length];

// Lets pointer and arrow keys pick one of `items` of a drawing ({x, y, text}, and half, half its
// width, if it has one) and shows its text. `far`: how many pixels the pointer may be away, x and y.
function pickable(holder, drawing, items, far, label) {
  const tip = html("div", { class: "tip", role: "status" });
  const ring = svg("circle", { r: 8, class: "cursor", visibility: "hidden" });
  let current = -1;
  const show = (index) => {
    current = index;
    const item = items[index];
    ring.setAttribute("visibility", item ? "visible" : "hidden");
    tip.textContent = item ? item.text : "";
    if (!item) return;
    ring.setAttribute("cx", item.x);
    ring.setAttribute("cy", item.y);
    const top = drawing.offsetTop ?? 0;
    tip.style.left = `${Math.max(0, Math.min(item.x + 12, holder.clientWidth - tip.offsetWidth))}px`;
    const above = item.y - tip.offsetHeight - 12;
    tip.style.top = `${above > 0 ? above + top : item.y + 14 + top}px`;
  };
  fill(drawing, { tabindex: 0, role: "img", "aria-label": `${label} Arrow keys go from one to the next.` }, [ring]);
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    let best = -1, least = 1;
    items.forEach((item, index) => {
      const dx = Math.max(0, Math.abs(item.x - (event.clientX - box.left)) - (item.half ?? 0)) / far[0];
      const dy = (item.y - (event.clientY - box.top)) / far[1];
      if (dx * dx + dy * dy < least) [best, least] = [index, dx * dx + dy * dy];
    });
    show(best);
  });
  drawing.addEventListener("pointerleave", () => show(-1));
  drawing.addEventListener("blur", () => show(-1));
  drawing.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") show(-1);
    if (!step || !items.length) return;
    event.preventDefault();
    const from = current < 0 && step < 0 ? 0 : current; // back from nowhere is the last one
    show((from + step + items.length) % items.length);
  });
  holder.append(tip);
}

// A chart of curves, with a legend whose entries switch curves off and on.
// `spec()` returns {x, y: axis specs; limits: [{value, text}], horizontal; label;
//   curves: [{name, system, marker (null: none), points: [{x, y, xs, ys, hollow, corners, note, text}]}]}.
function curveChart(id) {
  const holder = document.getElementById(id);
  if (!holder) return null;
  const hidden = new Set();
  let spec = null;
  const draw = drawAtAnyWidth(holder, (width) => spec && paint(width));

  function paint(width) {
    holder.replaceChildren(legend());
    const curves = spec.curves.filter((curve) => !hidden.has(curve.name));
    const points = curves.flatMap((curve) => curve.points);
    if (!points.length) return;
    const height = Math.max(260, Math.min(430, width * 0.5));
    const [left, right, top, bottom] = [52, width - 14, 30, height - 44];
    const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, height });
    const reach = (name, corner) => points.flatMap((p) => [
      p[name], ...(p[`${name}s`] ?? []), ...(p.corners ?? []).map((c) => c[corner])]);
    const x = axis(reach("x", 0), left, right, spec.x);
    const limits = spec.limits ?? [];
    const y = axis([...reach("y", 1), ...limits.map((limit) => limit.value)], bottom, top, spec.y);
    for (const tick of x.ticks) {
      drawing.append(
        svg("line", { x1: x.place(tick), x2: x.place(tick), y1: top, y2: bottom, class: "grid" }),
        svg("text", { x: x.place(tick), y: bottom + 17, "text-anchor": "middle", class: "muted" }, shown(tick)));
    }
    for (const tick of y.ticks) {
      drawing.append(
        svg("line", { x1: left, x2: right, y1: y.place(tick), y2: y.place(tick), class: "grid" }),
        svg("text", { x: left - 8, y: y.place(tick) + 4, "text-anchor": "end", class: "muted" }, shown(tick)));
    }
    drawing.append(
      svg("text", { x: 0, y: 14, class: "title" }, spec.y.title),
      svg("text", { x: right, y: height - 6, "text-anchor": "end", class: "title" }, spec.x.title));
    for (const limit of limits) {
      const at = y.place(limit.value);
      drawing.append(
        svg("line", { x1: left, x2: right, y1: at, y2: at, class: "limit" }),
        svg("text", { x: right, y: at - 6, "text-anchor": "end", class: "muted halo" }, limit.text));
    }
    const items = [];
    for (const curve of curves) {
      const group = svg("g", styleOf(curve.system));
      const places = curve.points.map((p) => [x.place(p.x), y.place(p.y)]);
      for (const p of curve.points) if (p.corners)
        group.append(svg("path", { class: "ellipse", d: `${path(p.corners.map(([a, b]) => [x.place(a), y.place(b)]))}Z` }));
      group.append(svg("path", { class: "curve", d: path(places), "stroke-dasharray": dashOf(curve.system) }));
      curve.points.forEach((p, i) => {
        const [px, py] = places[i];
        if (p.xs) group.append(svg("line", { class: "whisker", x1: x.place(p.xs[0]), x2: x.place(p.xs[1]), y1: py, y2: py }));
        if (p.ys) group.append(svg("line", { class: "whisker", x1: px, x2: px, y1: y.place(p.ys[0]), y2: y.place(p.ys[1]) }));
        if (curve.marker !== null) group.append(marker(curve.marker, px, py, 4.5, p.hollow));
        if (p.note) group.append(svg("text", { x: px + 8, y: py - 7, class: "muted halo" }, p.note));
        items.push({ x: px, y: py, text: p.text });
      });
      drawing.append(group);
    }
    holder.append(drawing);
    pickable(holder, drawing, items, [40, 40], spec.label);
  }

  function legend() {
    const entries = spec.curves.map((curve) => {
      const sample = svg("svg", { viewBox: "0 0 34 14", height: 14, "aria-hidden": "true", ...styleOf(curve.system) },
        svg("path", { class: "curve", d: "M1 7H33", "stroke-dasharray": dashOf(curve.system) }));
      if (curve.marker !== null) sample.append(marker(curve.marker, 17, 7, 4.5, false));
      const button = html("button", { type: "button", "aria-pressed": String(!hidden.has(curve.name)) }, sample, curve.name);
      button.addEventListener("click", () => {
        if (!hidden.delete(curve.name)) hidden.add(curve.name);
        draw();
        [...holder.querySelectorAll(".legend button")].find((b) => b.textContent === curve.name)?.focus();
      });
      return html("li", {}, button);
    });
    return html("ul", { class: "legend" }, ...entries);
  }

  return (next) => {
    spec = next;
    draw();
  };
}

// Fills a <select> with texts and calls back with the index chosen.
function options(id, texts, onChange, selected = 0) {
  const select = document.getElementById(id);
  select.replaceChildren(...texts.map((text, value) => html("option", { value }, text)));
  select.selectedIndex = selected;
  select.onchange = () => onChange(select.selectedIndex);
}
