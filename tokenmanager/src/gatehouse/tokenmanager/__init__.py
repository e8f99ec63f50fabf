"""Token manager: what people, pilots and jobs may carry; keys, and the guard of every route."""
