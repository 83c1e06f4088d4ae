"""Networks that only training needs: pose, intrinsics, the semantic probe, and the frozen teacher."""
