import { Dialog } from "radix-ui";
import { IconButton } from "../components/IconButton";

const KEYS: [string, string][] = [
  ["← → ↑ ↓", "move between tokens (or cells of the lens)"], ["Home, End", "first and last token"],
  ["Enter", "explain this token: it becomes the target"], ["Shift + Enter", "make this token the foil: why the target and not this"],
  ["Shift + arrows", "choose a range of tokens"], ["Esc", "clear target, foil and range; close what is open"],
  ["Enter (in the message)", "send; Shift + Enter for a new line"], ["/", "filter the units, search the latents"],
  ["← → ↑ ↓ (on a border)", "make panels larger and smaller; Enter: as they were"],
  ["c", "to the message"], ["t", "to the tokens of the answer"], ["g then w, l, b, d, s", "workbench, lens, lab, dictionary, stories"], ["v", "switch between the plain and the steered run"], ["?", "this help"],
];

export function HelpDialog({ open, onClose }: { open: boolean; onClose: () => void }) {
  return (
    <Dialog.Root open={open} onOpenChange={(next) => { if (!next) onClose(); }}>
      <Dialog.Portal>
        <Dialog.Overlay className="overlay" />
        <Dialog.Content className="dialog" aria-describedby={undefined} data-testid="help-dialog" onOpenAutoFocus={(event) => { event.preventDefault(); (event.currentTarget as HTMLElement).focus(); }}>
          <div className="drawer-head"><Dialog.Title>Keys and marks</Dialog.Title><span className="spacer" /><Dialog.Close asChild><IconButton icon="close" label="Close" /></Dialog.Close></div>
          <dl className="keys">{KEYS.map(([key, what]) => <div key={key}><dt><kbd>{key}</kbd></dt><dd>{what}</dd></div>)}</dl>
          <h3>Marks</h3>
          <ul className="marks">
            <li><span className="token still is-target">target</span> the token that is explained</li>
            <li><span className="token still is-foil">foil</span> the token it is compared with</li>
            <li><span className="token still" data-sign="+" style={{ "--heat": 0.7 } as React.CSSProperties}>promotes</span> blue, solid line: pushes towards the target</li>
            <li><span className="token still" data-sign="-" style={{ "--heat": 0.7 } as React.CSSProperties}>suppresses</span> orange, dotted line: pushes away from it</li>
          </ul>
          <p className="faint">With a mouse: click a token to explain it, shift-click for the foil, drag for a range.</p>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
