import { Dialog } from "radix-ui";
import { useEffect } from "react";
import { Icon } from "../components/Icon";
import { IconButton } from "../components/IconButton";
import { unitAddress } from "../logic/route";
import { withoutPolarity } from "../logic/unitname";
import { page, usePage } from "../state/page";
import { UnitView } from "./UnitView";

/** The unit page beside what one was doing. */
export function UnitDrawer() {
  const unit = usePage((s) => s.drawer);
  const close = () => page.set({ drawer: null });
  useEffect(() => {
    // A link inside (a nearest unit) leads to the page itself.
    const onHash = () => close();
    addEventListener("hashchange", onHash);
    return () => removeEventListener("hashchange", onHash);
  }, []);
  return (
    <Dialog.Root open={unit !== null} onOpenChange={(open) => { if (!open) close(); }}>
      <Dialog.Portal>
        <Dialog.Overlay className="overlay" />
        <Dialog.Content className="drawer" aria-describedby={undefined} data-testid="unit-drawer"
          onOpenAutoFocus={(event) => { event.preventDefault(); (event.currentTarget as HTMLElement).focus(); }}>
          {unit && (
            <>
              <div className="drawer-head">
                <Dialog.Title className="unit-title">{withoutPolarity(unit)}</Dialog.Title>
                <a href={unitAddress(unit)} className="link" data-testid="unit-open-page">Open as a page <Icon name="external" size={12} /></a>
                <span className="spacer" />
                <Dialog.Close asChild><IconButton icon="close" label="Close" /></Dialog.Close>
              </div>
              <div className="drawer-body"><UnitView key={unit} unit={unit} /></div>
            </>
          )}
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
