"""Imported by the process that nights are forked from: has loaded all of it when it returns."""

from reliability.chaos.night import warm

warm()
