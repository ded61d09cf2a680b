// Actions held until the kernel says that they are on disk.
//
// Each action has an id of its own, so that sending it twice records it once.
// `changed(state)` is told after every step; state.late lists what has waited
// longer than `patience` ms or could not be sent at all.

export class Outbox {
  constructor({ send, changed, patience = 3000, now = () => Date.now(),
    later = (call, wait) => setTimeout(call, wait), cancel = (timer) => clearTimeout(timer) }) {
    Object.assign(this, { send, changed, patience, now, later, cancel });
    this.held = new Map(); // id -> {action, since, broken}
    this.timer = null;
  }

  post(action) {
    const id = crypto.randomUUID ? crypto.randomUUID() : `${this.now()}-${Math.random().toString(36).slice(2)}`;
    this.held.set(id, { action: { ...action, id }, since: this.now(), broken: false });
    this.deliver(id);
    this.watch();
    this.changed(this.state());
    return id;
  }

  deliver(id) {
    const entry = this.held.get(id);
    try {
      this.send(entry.action);
      entry.broken = false;
    } catch (error) {
      entry.broken = true; // the comm is closed: the kernel was restarted or is gone
    }
  }

  settle(id) {
    const known = this.held.delete(id);
    if (known) {
      this.watch();
      this.changed(this.state());
    }
    return known;
  }

  sendAgain() {
    for (const id of this.held.keys()) this.deliver(id);
    this.changed(this.state());
  }

  state() {
    const waiting = [...this.held.values()];
    const late = waiting.filter((entry) => entry.broken || this.now() - entry.since >= this.patience);
    return { waiting: waiting.length, late: late.map((entry) => entry.action), broken: waiting.some((e) => e.broken) };
  }

  watch() {
    this.cancel(this.timer);
    this.timer = null;
    if (this.held.size === 0) return;
    const oldest = Math.min(...[...this.held.values()].map((entry) => entry.since));
    const wait = Math.max(50, oldest + this.patience - this.now());
    this.timer = this.later(() => {
      this.changed(this.state());
      if (this.held.size) this.timer = this.later(() => this.watch(), 1000);
    }, wait);
  }

  close() {
    this.cancel(this.timer);
  }
}
