// The page: a microphone into a WebSocket, words out of it.
import { Timeline } from "./timeline.js";
import { TYPES, transcript } from "./transcript.js";

const $ = (id) => document.getElementById(id);
const words = [];
const timeline = new Timeline($("timeline"), $("time"));
let about = null;
let running = null;
let begunMs = 0; // Audio of the streams before, so that times go on.

class Problem extends Error {}

const TRIES = [500, 1500, 3000, 5000, 8000]; // Pauses between attempts to connect again, ms.
const KEPT_SAMPLES = 60 * 48000; // Sent last, for a server that lost them with the connection.

const MICROPHONE_ERRORS = {
  NotAllowedError: "The microphone was not allowed. Allow it for this page beside its address.",
  NotFoundError: "No microphone was found. Connect one and start again.",
  NotReadableError: "The microphone cannot be read. Another program may be using it.",
};

class Stream {
  async open() {
    if (!navigator.mediaDevices) {
      throw new Problem("Browsers give a microphone only to pages that come over https, or from " +
        "this machine. Start the server with --certificate, or open the page on its own machine.");
    }
    this.media = await navigator.mediaDevices.getUserMedia({ audio: true });
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule("microphone.js");
    this.sent = 0; // Samples.
    this.kept = [];
    this.written = 0; // Words.
    this.name = Math.random().toString(36).slice(2);
    await this.connect();
    const node = new AudioWorkletNode(this.context, "microphone");
    node.port.onmessage = ({ data }) => this.hear(data);
    this.context.createMediaStreamSource(this.media).connect(node);
    this.media.getAudioTracks()[0].onended = () => this.stop();
  }

  async connect() {
    const url = new URL("./", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("stream", this.name); // Balancers bring it back to the same server.
    if (about.needs_token) url.searchParams.set("token", $("token").value);
    this.socket = new WebSocket(about.elsewhere ? await where(url) : url);
    this.socket.onmessage = ({ data }) => this.take(JSON.parse(data));
    this.socket.onclose = (event) => this.closed(event);
    return new Promise((resolve, reject) => {
      this.socket.onopen = () => {
        this.opened = true;
        this.tries = undefined;
        this.socket.send(JSON.stringify(this.token ?
          { resume: this.token, words: this.written } : this.wishes()));
        resolve();
      };
      this.refuse = reject;
    });
  }

  wishes() {
    const source = $("source").value;
    return {
      sample_rate: this.context.sampleRate,
      source_lang: source,
      target_lang: $("target").value || source,
      tentative: $("tentative").checked,
      resume: true,
    };
  }

  get sentMs() {
    return this.context ? 1000 * (this.sent || 0) / this.context.sampleRate : 0;
  }

  hear({ samples, peak }) {
    $("level").value = Math.max(0, 60 + 20 * Math.log10(peak + 1e-6));
    if (this.stopping) return;
    this.sent += samples.length;
    this.kept.push(samples);
    if (this.kept.length * samples.length > KEPT_SAMPLES) this.kept.shift();
    // What comes while it closes is kept for the next one.
    if (!this.away && this.socket.readyState === WebSocket.OPEN) this.socket.send(samples);
    $("audio").textContent = seconds(begunMs + this.sentMs);
    timeline.heard(peak, begunMs + this.sentMs);
  }

  // Send what the server has not heard: it has ``count`` samples.
  sendFrom(count) {
    let place = this.sent - this.kept.reduce((sum, samples) => sum + samples.length, 0);
    for (const samples of this.kept) {
      if (place + samples.length > count) this.socket.send(samples.subarray(Math.max(0, count - place)));
      place += samples.length;
    }
    this.away = false;
    say(this.stopping ? "Finishing" : "Listening");
    if (this.stopping) this.socket.send(JSON.stringify({ end_of_stream: true }));
  }

  take(message) {
    if (message.token) this.token = message.token;
    if (message.resumed) this.sendFrom(message.samples);
    if (message.token || message.resumed) return;
    if (message.end_of_processing) {
      this.socket.close(1000);
      return;
    }
    if (message.error) {
      showError(message.error);
      if (this.away) { // The server has given the stream up.
        this.token = null;
        this.socket.close();
      }
      return;
    }
    const atEnd = $("text").scrollTop + $("text").clientHeight > $("text").scrollHeight - 40;
    if (message.words.length) {
      const again = words.length && !this.written ? "\n" : "";
      this.written += message.words.length;
      $("words").append(again + message.new);
      const told = message.words.map((word) => ({
        ...word, end_ms: begunMs + word.end_ms, written_ms: begunMs + word.written_ms,
      }));
      words.push(...told);
      timeline.wrote(told);
      $("delay").textContent = seconds(Math.max(0, this.sentMs - message.words.at(-1).end_ms));
      $("count").textContent = words.length;
      enableExport();
    }
    $("waiting").textContent = seconds(message.waiting_ms);
    $("tail").textContent = message.tentative;
    if (atEnd) $("text").scrollTop = $("text").scrollHeight;
  }

  stop() {
    if (this.stopping) return;
    this.stopping = true;
    this.release();
    say("Finishing");
    if (!this.away) this.socket.send(JSON.stringify({ end_of_stream: true }));
  }

  release() {
    this.media?.getTracks().forEach((track) => track.stop());
    if (this.context && this.context.state !== "closed") this.context.close();
    $("level").value = 0;
  }

  async closed(event) {
    const refused = !this.opened;
    if (this.token && (event.code === 1006 || event.code === 1012)) {
      this.away = true;
      this.tries ??= [...TRIES];
      const pause = this.tries.shift();
      if (pause !== undefined) {
        say("Connecting again");
        setTimeout(() => this.connect().catch(() => {}), pause);
        return;
      }
    }
    this.release();
    $("tail").textContent = "";
    if (refused) {
      this.refuse(new Problem(await reasonOfRefusal()));
    } else if (event.code !== 1000 && !$("error").textContent) {
      showError(`The connection ended: ${event.reason || "the server cannot be reached"}. ` +
        "What was written stays; Start goes on behind it.");
    }
    begunMs += this.sentMs;
    running = null;
    showRunning();
  }
}

// The address of the server that takes the stream; browsers follow no redirect of a WebSocket.
async function where(url) {
  const answer = await fetch(`where${url.search}`).catch(() => ({ ok: false }));
  return answer.ok ? answer.text() : url;
}

async function reasonOfRefusal() {
  try {
    const health = await (await fetch("health")).json();
    if (health.reason) return `The server takes no more now: ${health.reason}.`;
    if (about.needs_token) return "The server did not let this page in. Is the token right?";
  } catch {
    // The server is away, as is said below.
  }
  return "The server cannot be reached. Is it running?";
}

const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
const say = (text) => { $("status").textContent = text; };

function showError(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
}

function showRunning() {
  say(running ? "Listening" : "Ready");
  $("start").textContent = running ? "Stop" : "Start";
  for (const id of ["source", "target", "token", "tentative"]) $(id).disabled = Boolean(running);
  if (!running) chooseable();
  $("text").lang = $("target").value || $("source").value;
  enableExport();
}

function enableExport() {
  for (const button of document.querySelectorAll("#export button")) {
    button.disabled = !words.length || (button.id === "clear" && Boolean(running));
  }
}

function chooseable() {
  for (const id of ["source", "target"]) $(id).disabled = $(id).options.length < 2;
}

async function toggle(event) {
  event.preventDefault();
  if (running) {
    running.stop();
    return;
  }
  showError("");
  const stream = new Stream();
  running = stream;
  showRunning();
  say("Asking for the microphone");
  try {
    await stream.open();
    say("Listening");
  } catch (error) {
    stream.release();
    running = null;
    showRunning();
    const known = error instanceof Problem ? error.message : MICROPHONE_ERRORS[error.name];
    showError(known ?? `It could not start: ${error.message}`);
  }
}

function save(form) {
  const text = transcript(words, form, about.separator);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: TYPES[form] }));
  link.download = `echostream.${form}`;
  link.click();
  URL.revokeObjectURL(link.href);
}

function clear() {
  words.length = 0;
  begunMs = 0;
  timeline.clear();
  for (const id of ["words", "tail"]) $(id).textContent = "";
  for (const id of ["delay", "audio", "waiting"]) $(id).textContent = "-";
  $("count").textContent = 0;
  enableExport();
}

function offer() {
  const names = new Intl.DisplayNames([navigator.language, "en"], { type: "language" });
  const named = (code) => {
    try {
      return names.of(code);
    } catch {
      return code; // A checkpoint may call its language anything.
    }
  };
  const option = (value, text) => new Option(text, value);
  $("source").append(...about.source_languages.map((code) => option(code, named(code))));
  $("target").append(...about.target_languages.map((code) => option(code, named(code))));
  if (about.transcribes) $("target").append(option("", "As spoken"));
  $("token-label").hidden = !about.needs_token;
}

async function begin() {
  try {
    about = await (await fetch("about")).json();
  } catch {
    say("");
    showError("The server cannot be reached. Is it running? Then load this page again.");
    return;
  }
  offer();
  $("controls").addEventListener("submit", toggle);
  $("clear").addEventListener("click", clear);
  for (const button of document.querySelectorAll("[data-form]")) {
    button.addEventListener("click", () => save(button.dataset.form));
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && running) running.stop();
  });
  $("start").disabled = false;
  showRunning();
}

begin();
