import type { ButtonHTMLAttributes } from "react";
import { Hint } from "./Hint";
import { Icon, type IconName } from "./Icon";

type Props = ButtonHTMLAttributes<HTMLButtonElement> & { icon: IconName; label: string; flip?: boolean; ref?: React.Ref<HTMLButtonElement> };

export function IconButton({ icon, label, className = "", flip, ...rest }: Props) {
  return (
    <Hint text={label}>
      <button type="button" aria-label={label} className={`icon-button ${className}`} {...rest}>
        <Icon name={icon} flip={flip} />
      </button>
    </Hint>
  );
}
