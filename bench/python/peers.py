"""How to get what the rows compare with; nothing is ever installed from here."""

NUMPY = ("numpy", "apt-get install python3-numpy")
RAY = ("ray", "pip install ray")
TORCH = ("torch", "pip install torch")
VINEYARD = ("vineyard", "pip install vineyard")
ICEORYX2 = ("iceoryx2", "pip install iceoryx2")
ULTRADICT = ("UltraDict", "pip install UltraDict")
REDIS = ("redis", "apt-get install python3-redis redis-server")


def strata(attribute):
    return (f"strata.{attribute}", "pip install . in Strata's folder")
