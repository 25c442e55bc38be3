"""Networks made smaller: weights removed one by one, or channels as a whole, and what that gains on the device."""
