import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { askGuide } from "../api/calls";
import { Failure } from "../components/States";

/** A question to the language model that the server was started with; it is told what the page shows, in words. */
export function GuideQuestion({ shows }: { shows: string }) {
  const [question, setQuestion] = useState("");
  const ask = useMutation({ mutationFn: () => askGuide({ question: question.trim(), state: shows }) });
  return (
    <form className="guide-question stack" onSubmit={(event) => { event.preventDefault(); if (question.trim()) ask.mutate(); }}>
      <label className="overline" htmlFor="guide-question">Ask about this page</label>
      <input id="guide-question" data-testid="guide-question" value={question} maxLength={1000} onChange={(event) => setQuestion(event.target.value)} />
      <button type="submit" className="button" disabled={ask.isPending || !question.trim()}>{ask.isPending ? "Asking…" : "Ask"}</button>
      <div aria-live="polite">
        {ask.data && <><p data-testid="guide-answer">{ask.data.answer}</p><p className="faint">{ask.data.by}, which can be wrong</p></>}
        {ask.isError && <Failure error={ask.error} />}
      </div>
    </form>
  );
}
