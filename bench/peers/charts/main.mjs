// Measures XState as `cargo run --release -p whimbrel-statechart --example speed` measures ours: the same three
// charts, the best of many short rounds. `npm install && npm run measure`.
//
// What is the same: a step as a pure function of a snapshot, an event that five parallel regions hear, and a small
// machine with a timer that is persisted as JSON and brought back as an actor that stands where it was. What is not:
// its snapshot does not hold the timer, so what comes back has none.

import { createActor, createMachine, initialTransition, transition } from 'xstate';

const ROUNDS = 200;

const flat = createMachine({
  id: 'flat',
  initial: 'on',
  states: { on: { on: { flip: 'off' } }, off: { on: { flip: 'on' } } },
});

const region = (nth) => ({
  initial: `a${nth}`,
  states: { [`a${nth}`]: { on: { flip: `b${nth}` } }, [`b${nth}`]: { on: { flip: `a${nth}` } } },
});

const wide = createMachine({
  id: 'wide',
  initial: 'all',
  states: { all: { type: 'parallel', states: Object.fromEntries([0, 1, 2, 3, 4].map((nth) => [`r${nth}`, region(nth)])) } },
});

const small = createMachine({
  id: 'small',
  context: { count: 0 },
  initial: 'open',
  states: {
    open: {
      initial: 'paying',
      after: { 3600000: 'lost' },
      states: { paying: { on: { pay: 'paying' } } },
    },
    lost: { type: 'final' },
  },
});

function best(count, go) {
  let least = Infinity;
  for (let round = 0; round < ROUNDS; round += 1) {
    const begun = process.hrtime.bigint();
    for (let nth = 0; nth < count; nth += 1) go();
    least = Math.min(least, Number(process.hrtime.bigint() - begun) / count);
  }
  return least;
}

function steps(machine) {
  let [snapshot] = initialTransition(machine);
  return best(1000, () => {
    [snapshot] = transition(machine, snapshot, { type: 'flip' });
  });
}

function line(what, nanos) {
  console.log(`${what.padEnd(58)} ${(nanos / 1000).toFixed(2).padStart(9)} us`);
}

line('flat step', steps(flat));
line('parallel broadcast to 5 regions', steps(wide));
const actor = createActor(small).start();
const moved = best(100, () => {
  const text = JSON.stringify(actor.getPersistedSnapshot());
  return createActor(small, { snapshot: JSON.parse(text) }).getSnapshot();
});
actor.stop();
line('persisted and restored, small', moved);
