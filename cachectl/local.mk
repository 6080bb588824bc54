# cachectl
