// In the audio thread: samples of the first channels' mean as 16-bit PCM, with their peak.
const FRAMES = 1024;

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Int16Array(FRAMES);
    this.count = 0;
    this.peak = 0;
  }

  process([channels]) {
    const length = channels.length ? channels[0].length : 0;
    for (let i = 0; i < length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      const value = Math.max(-1, Math.min(1, sum / channels.length));
      this.peak = Math.max(this.peak, Math.abs(value));
      this.samples[this.count++] = Math.round(value * 32767);
      if (this.count === FRAMES) {
        this.port.postMessage({ samples: this.samples, peak: this.peak }, [this.samples.buffer]);
        this.samples = new Int16Array(FRAMES);
        this.count = 0;
        this.peak = 0;
      }
    }
    return true;
  }
}

registerProcessor("microphone", Microphone);
