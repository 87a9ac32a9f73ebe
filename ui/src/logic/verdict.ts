// What a check found, in one sentence. A group is a cause only when taking it out does what was predicted AND more
// than taking out random groups of the same size does.
import type { AblateReply } from "../api/types";
import { count, percent, signed } from "./format";
import { quoted } from "./tokens";

export interface Verdict { holds: boolean; change: number; random: number[]; largest: number; sentence: string }

export function verdict(reply: AblateReply, effect: number, size: number, target: string): Verdict {
  const change = reply.without.value - reply.plain.value;
  const random = reply.random.map((draw) => draw.value - reply.plain.value);
  const largest = random.reduce((most, x) => (Math.abs(x) > Math.abs(most) ? x : most), 0);
  const expected = effect === 0 || Math.sign(change) === -Math.sign(effect);
  const beyond = Math.abs(change) > Math.abs(largest);
  const holds = expected && beyond;
  const units = count(size, "unit");
  const moved = `Without ${size === 1 ? "it" : `these ${units}`}, ${quoted(target)} goes from ${percent(reply.plain.probability)} to ${percent(reply.without.probability)} (${signed(change)} in the metric)`;
  const against = random.length === 0
    ? "no random groups were drawn"
    : `random groups of the same size move it by at most ${signed(largest)}`;
  const judgement = holds ? "The effect holds" : !expected
    ? "The effect does not hold: the change goes the other way"
    : "The effect does not hold: chance does as much";
  return { holds, change, random, largest, sentence: `${judgement}. ${moved}; ${against}.` };
}
