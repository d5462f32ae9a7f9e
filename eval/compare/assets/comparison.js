// The four charts of curves.

function qualityAgainstLatency() {
  const chart = curveChart("tradeoff");
  const { x: xs, y: ys, points } = data.tradeoff;
  if (!chart || !xs.length || !ys.length) return;
  // What a curve has in common, what tells its points apart, and the words for both.
  const ways = [
    { text: "segment sizes", name: (p) => p.label, note: (p) => shown(p.segment_ms),
      says: "Each curve is a system with a policy; the numbers beside its points are segment sizes in ms." },
    { text: "policy options", name: (p) => `${p.policy}, ${shown(p.segment_ms)} ms`, note: (p) => p.label,
      says: "Each curve is a system with a policy and a segment size; beside its points are the policy's options." },
  ];
  const chosen = { x: xs[0], y: ys[0], way: ways[0] };
  const oneSystem = new Set(points.map((p) => p.system)).size === 1;
  const range = (values) => (values[1] === null || values[2] === null ? null : [values[1], values[2]]);
  const written = (metric, [value, low, high]) =>
    `${metric.title}: ${shown(value)}${low === null || high === null ? "" : ` [${shown(low)}, ${shown(high)}]`}`;

  function point(raw) {
    const [x, y] = [raw.values[chosen.x.name], raw.values[chosen.y.name]];
    if (!x || !y || x[0] === null || y[0] === null) return [];
    const joint = raw.joint && raw.joint.x === chosen.x.name && raw.joint.y === chosen.y.name;
    const lines = [
      data.systems[raw.system],
      `${raw.label}, segments of ${shown(raw.segment_ms)} ms`,
      written(chosen.y, y),
      written(chosen.x, x),
    ];
    if (raw.degenerate) lines.push("degenerate policy");
    return [{
      x: x[0], y: y[0], xs: range(x), ys: range(y), hollow: raw.degenerate,
      corners: joint ? raw.joint.corners : null,
      note: chosen.way.note(raw), text: lines.join("\n"),
    }];
  }

  function draw() {
    document.getElementById("tradeoff-text").textContent = [chosen.y, chosen.x]
      .filter((metric) => metric.text).map((metric) => `${metric.name}: ${metric.text}.`)
      .concat(chosen.way.says).join(" ");
    const kinds = [...new Set(points.map(chosen.way.name))];
    const groups = new Map();
    for (const raw of points) {
      const key = (oneSystem ? "" : `${data.systems[raw.system]}, `) + chosen.way.name(raw);
      groups.set(key, [...(groups.get(key) ?? []), raw]);
    }
    chart({
      x: { title: chosen.x.title }, y: { title: chosen.y.title },
      label: `${chosen.y.name} against ${chosen.x.name}.`,
      curves: [...groups].map(([name, group]) => {
        const kind = kinds.indexOf(chosen.way.name(group[0]));
        // A colour for each system, or, where there is one only, for each curve.
        return { name, system: oneSystem ? kind : group[0].system, marker: kind, points: group.flatMap(point) };
      }).filter((curve) => curve.points.length),
    });
  }
  options("choose-x", xs.map((metric) => metric.title), (i) => { chosen.x = xs[i]; draw(); });
  options("choose-y", ys.map((metric) => metric.title), (i) => { chosen.y = ys[i]; draw(); });
  options("choose-curves", ways.map((way) => way.text), (i) => { chosen.way = ways[i]; draw(); });
  draw();
}

// One curve for each system, and for each segment size if there are several.
function bySystem(runs, points, marker) {
  const several = new Set(runs.map((run) => run.segment_ms)).size > 1;
  return runs.map((run) => {
    const name = data.systems[run.system] + (several ? `, ${shown(run.segment_ms)} ms` : "");
    return { name, system: run.system, marker, points: points(run, name) };
  }).filter((curve) => curve.points.length);
}

function computingAndMemory() {
  const sizes = [...new Set(data.positions.map((run) => run.segment_ms))].sort((a, b) => a - b);
  curveChart("position")?.({
    x: { title: "place in the recording (s)", zero: true },
    y: { title: "computing time of a segment (ms)", log: true },
    limits: sizes.map((size) => ({ value: size, text: `real time: ${shown(size)} ms` })),
    label: "Computing time of a segment against its place in the recording.",
    curves: bySystem(data.positions, (run, name) => run.points.map(([place, ...parts]) => {
      const total = parts.reduce((a, b) => a + b, 0);
      const text = `${name}, at ${shown(place)} s: ${shown(total)} ms\n` +
        data.parts.slice(1).map((part, i) => `${part} ${shown(parts[i])} ms`).join("\n");
      return { x: place, y: total, text };
    }).filter((point) => point.y > 0), null),
  });
  curveChart("length")?.({
    x: { title: "length of the recording (s)", zero: true },
    y: { title: "compute RTF", log: true },
    limits: [{ value: 1, text: "real time" }],
    label: "Compute RTF against the length of the recording.",
    curves: bySystem(data.lengths, (run, name) => run.points.filter(([, rtf]) => rtf > 0).map(([seconds, rtf]) => ({
      x: seconds, y: rtf, text: `${name}\n${shown(seconds)} s: compute RTF ${shown(rtf)}` })), 0),
  });
  curveChart("state")?.({
    x: { title: "length of the recording (s)", zero: true },
    y: { title: "state (KiB)", zero: true },
    label: "Memory of the state against the length of the recording.",
    curves: bySystem(data.lengths, (run, name) => run.points.filter(([, , bytes]) => bytes !== null).map(([seconds, , bytes]) => ({
      x: seconds, y: bytes / 1024, text: `${name}\n${shown(seconds)} s: ${shown(bytes / 1024)} KiB` })), 0),
  });
}

qualityAgainstLatency();
computingAndMemory();
