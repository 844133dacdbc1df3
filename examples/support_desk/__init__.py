"""A support desk for a small shop: tickets in, replies out, each exactly once. See README.md beside this file."""
