import { Dialog } from "radix-ui";
import { useState } from "react";
import { connection, giveToken } from "../state/connection";
import { useStore } from "../state/store";

/** The server wants an access token. It stays in this tab. */
export function TokenDialog() {
  const asking = useStore(connection, (s) => s.asking);
  const [token, setToken] = useState("");
  return (
    <Dialog.Root open={asking !== null}>
      <Dialog.Portal>
        <Dialog.Overlay className="overlay" />
        <Dialog.Content className="dialog small" aria-describedby="token-why" data-testid="token-dialog" onEscapeKeyDown={(event) => event.preventDefault()} onInteractOutside={(event) => event.preventDefault()}>
          <Dialog.Title>Access token</Dialog.Title>
          <p id="token-why">{asking?.wrong ? "The server did not accept that token." : "This server asks for a token."} It was shown when the server started, and is kept only until this tab is closed.</p>
          <form className="row" onSubmit={(event) => { event.preventDefault(); if (token.trim()) giveToken(token.trim()); setToken(""); }}>
            <input type="password" autoFocus autoComplete="off" aria-label="Access token" data-testid="token-input" value={token} onChange={(event) => setToken(event.target.value)} />
            <button type="submit" className="button primary" disabled={!token.trim()}>Continue</button>
          </form>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
