/** A bar from the middle: right and blue for promoting, left, orange and hatched for suppressing. */
export function SignedBar({ value, most }: { value: number; most: number }) {
  const share = most > 0 ? Math.min(1, Math.abs(value) / most) : 0;
  return (
    <span className="signed-bar" aria-hidden="true">
      <span className={value < 0 ? "minus" : "plus"} style={{ width: `${share * 50}%`, [value < 0 ? "right" : "left"]: "50%" }} />
    </span>
  );
}

export function ShareBar({ share, className = "" }: { share: number; className?: string }) {
  return <span className={`share-bar ${className}`} aria-hidden="true"><span style={{ width: `${Math.min(1, Math.max(0, share)) * 100}%` }} /></span>;
}
