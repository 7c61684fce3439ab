"""Who runs next and where: weighted fair queue, scores, placement, pools, retries, dispatch."""
