// Actions held until the kernel says that they are on disk.
//
// Each action has an id of its own, so that sending it twice records it once.
// `changed(state)` is told after every step; state.late lists what has waited
// longer than `patience` ms, could not be sent at all, or was refused.

export class Outbox {
  constructor({ send, changed, patience = 3000, now = () => Date.now(),
    later = (call, wait) => setTimeout(call, wait), cancel = (timer) => clearTimeout(timer) }) {
    Object.assign(this, { send, changed, patience, now, later, cancel });
    this.held = new Map(); // id -> {action, since, broken, refusal}
    this.timer = null;
  }

  post(action) {
    const id = crypto.randomUUID ? crypto.randomUUID() : `${this.now()}-${Math.random().toString(36).slice(2)}`;
    this.held.set(id, { action: { ...action, id }, since: this.now(), broken: false, refusal: "" });
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

  // The action is on disk. Returns it, or null if it is not one of ours.
  settle(id) {
    const entry = this.held.get(id);
    if (!entry) return null;
    this.held.delete(id);
    this.watch();
    this.changed(this.state());
    return entry.action;
  }

  // The action could not be saved: it stays, to be sent again or given up.
  refuse(id, text) {
    const entry = this.held.get(id);
    if (!entry) return null;
    entry.refusal = text;
    this.changed(this.state());
    return entry.action;
  }

  sendAgain() {
    for (const [id, entry] of this.held) {
      Object.assign(entry, { since: this.now(), refusal: "" });
      this.deliver(id);
    }
    this.watch();
    this.changed(this.state());
  }

  giveUp() {
    const given = [...this.held.values()].map((entry) => entry.action);
    this.held.clear();
    this.watch();
    this.changed(this.state());
    return given;
  }

  state() {
    const held = [...this.held.values()];
    const late = held.filter((entry) => entry.broken || entry.refusal || this.now() - entry.since >= this.patience);
    return {
      waiting: held.length,
      held: held.map((entry) => entry.action),
      late: late.map((entry) => entry.action),
      broken: held.some((entry) => entry.broken),
      refusal: held.find((entry) => entry.refusal)?.refusal ?? "",
    };
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
