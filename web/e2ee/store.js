// A store in memory with transactions, for tests and as the model of a real
// one: what a failed call wrote is taken back.
const keyOf = (kind, key) => String.fromCharCode(kind, ...key);

export class MemoryStore {
  records = new Map();
  undo = null;

  load(kind, key) {
    return this.records.get(keyOf(kind, key));
  }
  save(kind, key, data) {
    this.put(keyOf(kind, key), data);
  }
  remove(kind, key) {
    this.put(keyOf(kind, key), undefined);
  }
  put(name, data) {
    this.undo?.push([name, this.records.get(name)]);
    if (data === undefined) this.records.delete(name);
    else this.records.set(name, data);
  }

  /* Runs `action`; all of its writes stay, or none. */
  transaction(action) {
    this.undo = [];
    try {
      return action();
    } catch (error) {
      for (const [name, before] of this.undo.reverse()) {
        if (before === undefined) this.records.delete(name);
        else this.records.set(name, before);
      }
      throw error;
    } finally {
      this.undo = null;
    }
  }
}
