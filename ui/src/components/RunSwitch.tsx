import { ToggleGroup } from "radix-ui";
import { view } from "../state/choosing";
import { type RunName, useCurrent } from "../state/page";

/** Says and chooses which run every panel shows. */
export function RunSwitch() {
  const { steered, name } = useCurrent();
  if (!steered) return null;
  return (
    <div className="run-switch">
      <span className="run-switch-label" id="run-switch-label">All panels show</span>
      <ToggleGroup.Root type="single" className="segmented" aria-labelledby="run-switch-label" value={name} data-testid="run-switch"
        onValueChange={(value) => value && view(value as RunName)}>
        <ToggleGroup.Item value="plain" data-testid="view-plain">plain</ToggleGroup.Item>
        <ToggleGroup.Item value="steered" data-testid="view-steered">steered</ToggleGroup.Item>
      </ToggleGroup.Root>
    </div>
  );
}
