"""The data catalogue that every room shares: outside files, where they are found, what codebooks say of them.

No science lives here: what a room makes of a file is the room's own business.
"""
