import { Popover } from "radix-ui";
import type { Sampling } from "../api/types";
import { NumberField } from "../components/Field";
import { IconButton } from "../components/IconButton";
import { defaultSampling, page, usePage } from "../state/page";
import { useStatus } from "../state/queries";

export function SamplingPopover() {
  const sampling = usePage((s) => s.sampling);
  const { data: status } = useStatus();
  const set = (part: Partial<Sampling>) => page.set({ sampling: { ...sampling, ...part } });
  return (
    <Popover.Root>
      <Popover.Trigger asChild><IconButton icon="sliders" label="Sampling" data-testid="sampling" /></Popover.Trigger>
      <Popover.Portal>
        <Popover.Content className="popover" sideOffset={6} align="end" collisionPadding={8} aria-label="Sampling">
          <h3>How the answer is drawn</h3>
          <div className="fields">
            <NumberField label="Most tokens" testid="max-tokens" value={sampling.max_tokens} min={1} max={status?.limits.generated_tokens ?? 4096} onChange={(v) => v && set({ max_tokens: Math.round(v) })} />
            <NumberField label="Temperature" testid="temperature" value={sampling.temperature} min={0} max={5} step={0.1} onChange={(v) => v !== null && set({ temperature: v })} />
            <NumberField label="Seed" testid="seed" value={sampling.seed} min={0} onChange={(v) => v !== null && set({ seed: Math.round(v) })} />
            <NumberField label="Top k" value={sampling.top_k ?? null} min={1} empty="all" onChange={(v) => set({ top_k: v })} />
            <NumberField label="Top p" value={sampling.top_p ?? null} min={0.01} max={1} step={0.05} empty="1" onChange={(v) => set({ top_p: v })} />
            <NumberField label="Min p" value={sampling.min_p ?? null} min={0} max={1} step={0.01} empty="0" onChange={(v) => set({ min_p: v })} />
            <NumberField label="Repetition" value={sampling.repetition ?? 1} min={0.1} max={5} step={0.05} onChange={(v) => v !== null && set({ repetition: v })} />
            <div className="field wide">
              <label htmlFor="stop-text">Stop at (one a line)</label>
              <textarea id="stop-text" rows={2} value={(sampling.stop ?? []).join("\n")} onChange={(event) => set({ stop: event.target.value.split("\n").filter((line) => line !== "") })} />
            </div>
          </div>
          <p className="faint">Temperature 0 takes the likeliest token each time. The same seed gives the same answer.</p>
          <button type="button" className="button small quiet" onClick={() => page.set({ sampling: defaultSampling })}>Set back</button>
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}
