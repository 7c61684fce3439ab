"""A small numeric simulation: planets around a star, integrated with the symplectic leapfrog scheme."""

import numpy as np


def orbits(bodies: int = 60, steps: int = 4000, seed: int = 7) -> dict:
    """Integrate `bodies` planets around one star and report how well energy is conserved.

    Units: gravitational constant and mass of the star are 1; planets are light and attract one another too.
    """
    random = np.random.default_rng(seed)
    mass = np.full(bodies, 1e-6)
    radius = random.uniform(0.5, 3.0, bodies)
    angle = random.uniform(0, 2 * np.pi, bodies)
    place = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)  # [bodies, 2]
    speed = np.stack([-np.sin(angle), np.cos(angle)], axis=1) / np.sqrt(radius)[:, None]  # [bodies, 2]
    step = 0.002

    def pull(at: np.ndarray) -> np.ndarray:
        to_star = -at / np.linalg.norm(at, axis=1, keepdims=True) ** 3
        apart = at[None, :, :] - at[:, None, :]  # [bodies, bodies, 2]
        cubed = (np.sum(apart**2, axis=2) + 1e-6) ** 1.5
        return to_star + np.einsum("ijk,ij,j->ik", apart, 1 / cubed, mass)

    def energy() -> float:
        kinetic = 0.5 * np.sum(mass * np.sum(speed**2, axis=1))
        return float(kinetic - np.sum(mass / np.linalg.norm(place, axis=1)))

    before = energy()
    acceleration = pull(place)
    for number in range(steps):
        speed += 0.5 * step * acceleration
        place += step * speed
        acceleration = pull(place)
        speed += 0.5 * step * acceleration
        if steps >= 10 and number % (steps // 10) == 0:
            print(f"step {number} of {steps}", flush=True)
    return {"bodies": bodies, "steps": steps, "relative_energy_drift": abs(energy() / before - 1)}
