import type { Words } from "../api/types";
import { interval, two } from "../logic/format";

/** A description never stands without its score; a missing one says so. */
export function DescriptionWords({ words }: { words: Words | null }) {
  if (!words) return <span className="no-words">no description</span>;
  return (
    <span className="words">
      <span className="words-text" title={words.text}>{words.text}</span>
      {words.score !== null && (
        <span className="score" title={`Predicts the activation with r = ${two(words.score)} on held-out text${words.interval ? `, 95% interval ${interval(words.interval)}` : ""}${words.null !== null ? `; another unit's words reach ${two(words.null)}` : ""}. Written by ${words.explainer}.`}>
          r {two(words.score)}{words.interval && <span className="score-interval"> [{two(words.interval[0])}, {two(words.interval[1])}]</span>}
        </span>
      )}
    </span>
  );
}
