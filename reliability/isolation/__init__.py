"""The isolation walk: every route, as every kind of caller, naming what belongs to others."""
