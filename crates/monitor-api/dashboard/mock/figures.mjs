// Made-up courses of training: smooth functions of the step with noise that depends on seed and step alone.

/** A number in [0, 1) that follows from `seed` and `index`. */
export function chance(seed, index) {
  let hash = (Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 12), 0x297a2d39) >>> 0;
  return ((hash ^ (hash >>> 15)) >>> 0) / 2 ** 32;
}

const noise = (seed, step) => chance(seed, step) + chance(seed + 7, step) - 1;

/** What a run does at a step (from 0, over all stages). */
export function at(run, step) {
  const { seed, steps, start, floor, peak } = run;
  const share = step / steps;
  const second = run.stages[1] && step >= run.stages[1].first;
  const own = second ? (step - run.stages[1].first) / run.stages[1].total : run.stages[1] ? step / run.stages[1].first : share;
  const decay = Math.exp(-5 * own) + 0.12 / (1 + 12 * own);
  const loss = Math.max(0.01, floor + (start - floor) * decay * (second ? 0.45 : 1)) * (1 + 0.13 * noise(seed, step));
  const validation = floor * 1.12 + (start - floor) * (Math.exp(-4.4 * own) + 0.14 / (1 + 10 * own)) * (second ? 0.45 : 1) + (own > 0.8 ? 0.02 * own : 0);
  const accuracy = Math.min(0.995, 1 - 0.62 * Math.exp(-3.6 * share - 0.4) - 0.02 * chance(seed + 3, step));
  const warm = Math.min(1, own / 0.06);
  const busy = 0.75 + 0.2 * noise(seed + 5, step >> 3);
  return {
    train_loss: loss,
    learning_rate: peak * warm * (1 - 0.97 * own),
    gradient_norm: 0.4 + 2.2 * decay * (1 + 0.5 * noise(seed + 2, step)),
    speed: run.speed * (0.92 + 0.14 * chance(seed + 9, step)),
    validation_loss: validation,
    accuracy,
    activation_rate: run.ast ? (second ? Math.min(1, 0.4 + 0.1 * noise(seed + 4, step)) : 1) : null,
    threshold: run.ast && second ? 0.9 * Math.exp(-3 * own) + 0.02 : null,
    cpu_power_w: 6 + 34 * busy,
    gpu_power_w: run.gpu ? 140 + 170 * busy : 0,
    ram_power_w: 20,
  };
}

/** The time of a step, in seconds since the run began. */
export const timeOf = (run, step) => 0.4 + step * run.pace;

/** Series names of a run, with how they are read off, and how seldom they come. */
export function kinds(run) {
  const image = run.task === 'image';
  const pick = (name) => (figures) => figures[name];
  const every = Math.max(1, Math.round(run.steps / 24));
  return {
    train_loss: [pick('train_loss'), 1],
    learning_rate: [pick('learning_rate'), 1],
    gradient_norm: [pick('gradient_norm'), 1],
    [image ? 'samples_per_second' : 'tokens_per_second']: [pick('speed'), 1],
    validation_loss: [pick('validation_loss'), every],
    ...(image ? {} : { perplexity: [(figures) => Math.exp(figures.validation_loss), every] }),
    [image ? 'accuracy' : 'token_accuracy']: [pick('accuracy'), every],
    ...(run.ast ? { activation_rate: [pick('activation_rate'), 1], threshold: [pick('threshold'), 1] } : {}),
    power_w: [(figures) => figures.cpu_power_w + figures.gpu_power_w + figures.ram_power_w, 5],
    cpu_power_w: [pick('cpu_power_w'), 5],
    gpu_power_w: [pick('gpu_power_w'), 5],
    ram_power_w: [pick('ram_power_w'), 5],
    energy_kwh: [(_, step) => energyAt(run, step), 5],
    emissions_kg_co2: [(_, step) => energyAt(run, step) * run.intensity / 1000, 5],
  };
}

/** Mean power times time; near enough to the sum for a picture. */
export const energyAt = (run, step) => (timeOf(run, step) / 3.6e6) * (run.gpu ? 290 : 51.5) * (1 + 0.02 * noise(run.seed, step));

/** Samples of a bucket at most: enough for its least and greatest. */
const LOOKS = 24;

/** The series of a run up to `done` steps, in at most `points` buckets over `from` to `to`. */
export function series(run, done, { points = 500, from = 0, to = Infinity, names } = {}) {
  const answer = {};
  const [low, high] = [Math.max(0, Math.floor(from) - 1), Math.min(done - 1, Math.floor(to) - 1)];
  for (const [name, [read, every]] of Object.entries(kinds(run))) {
    if (names && !names.includes(name)) continue;
    const one = { x: [], time: [], mean: [], min: [], max: [], count: [] };
    const first = Math.ceil(low / every) * every;
    const number = high >= first ? Math.floor((high - first) / every) + 1 : 0;
    const buckets = Math.min(points, number);
    for (let bucket = 0; bucket < buckets; bucket++) {
      const [begin, end] = [Math.floor((bucket * number) / buckets), Math.floor(((bucket + 1) * number) / buckets)];
      const stride = Math.max(1, Math.floor((end - begin) / LOOKS));
      const values = [];
      for (let index = begin; index < end; index += stride) {
        const value = read(at(run, first + index * every), first + index * every);
        if (value != null) values.push(value);
      }
      if (values.length === 0) continue;
      const x = first + begin * every;
      // Step s of a stage is at first + s, and steps count from 1.
      one.x.push(x + 1);
      one.time.push(timeOf(run, x));
      one.mean.push(values.reduce((sum, value) => sum + value, 0) / values.length);
      one.min.push(Math.min(...values));
      one.max.push(Math.max(...values));
      one.count.push(end - begin);
    }
    if (one.x.length > 0) answer[name] = one;
  }
  return answer;
}
