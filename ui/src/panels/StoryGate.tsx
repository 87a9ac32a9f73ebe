import { useQuery } from "@tanstack/react-query";
import { gate } from "../api/calls";
import { Failure } from "../components/States";

/** A behaviour is measured before it is explained: does this model show it at all? */
export function StoryGate({ id }: { id: string }) {
  const reply = useQuery({ queryKey: ["gate", id], queryFn: ({ signal }) => gate(id, signal), enabled: false });
  if (reply.isFetching) return <p className="gate is-asking" role="status">Asking this model…</p>;
  if (reply.isError) return <Failure error={reply.error} again={() => void reply.refetch()} title="The model could not be asked" />;
  if (!reply.data) {
    return <p className="gate"><button type="button" className="button small" data-testid={`gate-${id}`} onClick={() => void reply.refetch()}>Does this model show it?</button></p>;
  }
  const { shows, sentence, evidence } = reply.data;
  return (
    <div className={`gate ${shows ? "shows" : "shows-not"}`} data-testid={`gate-result-${id}`} role="status">
      <p><strong>{shows ? "✓ This model shows it." : "✗ This model does not show it."}</strong> {sentence}</p>
      {evidence.length > 0 && (
        <details>
          <summary>{evidence.length === 1 ? "What it was asked" : `The ${evidence.length} things it was asked`}</summary>
          <ul>{evidence.map((one, i) => <li key={i}><span aria-hidden="true">{one.holds ? "✓" : "✗"}</span><span className="visually-hidden">{one.holds ? "holds" : "does not hold"}</span> <q>{one.prompt}</q> → <q>{one.answer}</q></li>)}</ul>
        </details>
      )}
    </div>
  );
}
