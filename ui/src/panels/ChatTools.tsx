import { ToggleGroup } from "radix-ui";
import { Hint } from "../components/Hint";
import { Icon } from "../components/Icon";
import { IconButton } from "../components/IconButton";
import { startOver } from "../state/answering";
import { type HeatMode, page, usePage } from "../state/page";
import { useStatus } from "../state/queries";
import { SamplingPopover } from "./SamplingPopover";
import { ShareMenu } from "./ShareMenu";

export function ChatTools() {
  const heat = usePage((s) => s.heat), mode = usePage((s) => s.mode);
  const { data: status } = useStatus();
  return (
    <>
      <ToggleGroup.Root type="single" className="segmented" aria-label="Shade tokens by" value={heat}
        onValueChange={(value) => value && page.set({ heat: value as HeatMode })}>
        <ToggleGroup.Item value="off" data-testid="heat-off">off</ToggleGroup.Item>
        <ToggleGroup.Item value="activation" data-testid="heat-activation">activation</ToggleGroup.Item>
        <ToggleGroup.Item value="attribution" data-testid="heat-attribution">attribution</ToggleGroup.Item>
      </ToggleGroup.Root>
      <Hint text="New conversation"><button type="button" className="button small quiet begin-anew" aria-label="New conversation" data-testid="start-over" onClick={startOver}><Icon name="plus" size={14} /><span>New</span></button></Hint>
      {status?.model.chat && (
        <IconButton icon="file" label={mode === "chat" ? "Plain text instead of chat" : "Chat instead of plain text"} aria-pressed={mode === "text"}
          data-testid="text-mode" onClick={() => { startOver(); page.set({ mode: mode === "chat" ? "text" : "chat" }); }} />
      )}
      <SamplingPopover />
      <ShareMenu />
    </>
  );
}
