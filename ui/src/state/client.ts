import { QueryClient } from "@tanstack/react-query";
import { ApiError } from "../api/http";

// Results depend only on what was asked (the model never changes), so they stay fresh for ever; `request` has its
// own patience with a busy server, so nothing is tried again here but a lost connection.
export const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: Infinity, gcTime: 10 * 60_000, refetchOnWindowFocus: false,
      retry: (failures, error) => failures < 1 && error instanceof ApiError && error.status === 0,
    },
    mutations: { retry: false },
  },
});
