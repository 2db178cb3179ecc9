// The official implementation's figures.
//
//   node official.mjs SCENARIO COUNT
import { officialBench } from '../../test/e2ee/interop/judge_bench.mjs';

const [, , scenario, count] = process.argv;
await officialBench({ scenario, count: Math.ceil(Number(count) / 10) }); // warm
console.log((await officialBench({ scenario, count: Number(count) })).rate.toFixed(1));
