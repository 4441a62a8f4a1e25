// A player of finished runs: a slider over their steps, and a button. All players of a workbench have one playhead: moving
// one moves the others to the same share of their steps, by the event `moment` of the workbench.

const [LEAST_PAUSE, MOST_PAUSE, WHOLE] = [40, 200, 12000];  // ms of a step, and about of a whole run

class Playhead {
  // show(at): draws a state; that after the last is the finished text. strip: what has the class `playing` meanwhile.
  constructor(bench, strip, {slider, play}, show) {
    Object.assign(this, {bench, strip, slider, play, show, timer: null});
    play.addEventListener('click', () => this.timer ? this.pause() : this.start());
    slider.addEventListener('input', () => { this.pause(); this.go(this.at); });
    bench?.addEventListener('moment', ({detail: {share, by}}) => {
      if (by === this || !this.length) return;
      this.pause();
      this.put(Math.round(share * this.length));
    });
  }

  get at() {
    return Number(this.slider.value);
  }

  get length() {
    return Number(this.slider.max);
  }

  get atEnd() {
    return this.at >= this.length;
  }

  // A run of so many states, at its end.
  open(length) {
    this.pause();
    this.slider.max = length;
    this.slider.value = length;
  }

  put(at) {
    this.slider.value = at;
    this.show(at);
  }

  go(at) {
    this.put(at);
    this.bench?.dispatchEvent(new CustomEvent('moment', {detail: {share: this.length ? at / this.length : 1, by: this}}));
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.strip.classList.remove('playing');
    this.play.textContent = 'Play';
  }

  start() {
    this.go(this.atEnd ? 0 : this.at);
    this.strip.classList.add('playing');
    this.play.textContent = 'Pause';
    const pause = Math.max(LEAST_PAUSE, Math.min(MOST_PAUSE, WHOLE / Math.max(1, this.length)));
    this.timer = setInterval(() => {
      this.go(this.at + 1);
      if (this.atEnd) this.pause();
    }, pause);
  }
}
