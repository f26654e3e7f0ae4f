"""Answers, events and errors on the wire: as JSON, and as protobuf messages made from that JSON."""
