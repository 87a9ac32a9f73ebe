import { Component, type ReactNode } from "react";

/** A fault in the page itself: a sentence and a way on, never an empty window. */
export class ErrorBoundary extends Component<{ children: ReactNode }, { failed: boolean }> {
  state = { failed: false };
  static getDerivedStateFromError() { return { failed: true }; }
  render() {
    if (!this.state.failed) return this.props.children;
    return (
      <main className="page-view"><h1>This view broke</h1>
        <p>That is a fault in the page, not in the model or in what you did. Your conversation is still there.</p>
        <p><button type="button" className="button" onClick={() => this.setState({ failed: false })}>Draw it again</button></p>
      </main>
    );
  }
}
