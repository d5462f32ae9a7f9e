// Words with their times as text, SubRip, WebVTT or JSON, as echostream.hosts.transcript makes them.
const LINE = 42;
const LONGEST_MS = 6000;
const PAUSE_MS = 2000;
const FIRST_WORD_MS = 500;

export const TYPES = {
  txt: "text/plain", srt: "application/x-subrip", vtt: "text/vtt", json: "application/json",
};

export function transcript(words, form, separator) {
  const text = words.map((word) => word.text).join(separator);
  if (form === "txt") return text + "\n";
  if (form === "json") return JSON.stringify({ text, words }, null, 1) + "\n";
  const blocks = cues(words, separator).map((cue, n) => {
    const lines = wrapped(form === "vtt" ? escaped(cue.text) : cue.text);
    const point = form === "srt" ? "," : ".";
    const head = form === "srt" ? `${n + 1}\n` : "";
    return `${head}${clock(cue.begin, point)} --> ${clock(cue.end, point)}\n${lines}\n`;
  });
  return (form === "vtt" ? ["WEBVTT\n", ...blocks] : blocks).join("\n");
}

function cues(words, separator) {
  const groups = [];
  for (const word of words) {
    const group = groups.at(-1);
    if (group === undefined || beginsAnother(group, word, separator)) groups.push([word]);
    else group.push(word);
  }
  let end = 0;
  return groups.map((group) => {
    const begin = Math.max(end, group[0].end_ms - FIRST_WORD_MS);
    end = Math.max(begin + 1, ...group.map((word) => word.end_ms));
    return { begin, end, text: group.map((word) => word.text).join(separator) };
  });
}

function beginsAnother(group, word, separator) {
  const last = group.at(-1);
  const length = [...group, word].map((each) => each.text).join(separator).length;
  return /[.!?。！？]$/.test(last.text) || length > 2 * LINE ||
    word.end_ms - last.end_ms > PAUSE_MS ||
    word.end_ms - group[0].end_ms > LONGEST_MS - FIRST_WORD_MS;
}

function wrapped(text) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1);
    const longer = line ? `${line} ${word}` : word;
    if (longer.length <= LINE) lines[lines.length - 1] = longer;
    else if (word.length <= LINE || line.length + 1 >= LINE) lines.push(...pieces(word));
    else lines.splice(-1, 1, ...pieces(longer));
  }
  return lines.filter(Boolean).join("\n");
}

// A word that no line can hold, and every word of a language without spaces, is broken.
function pieces(text) {
  const count = Math.max(1, Math.ceil(text.length / LINE));
  return Array.from({ length: count }, (_, n) => text.slice(n * LINE, (n + 1) * LINE));
}

function clock(ms, point) {
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const rest = String(ms % 1000).padStart(3, "0");
  return `${two(ms / 3600000)}:${two((ms / 60000) % 60)}:${two((ms / 1000) % 60)}${point}${rest}`;
}

const escaped = (text) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
