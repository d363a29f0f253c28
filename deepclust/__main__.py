"`python -m deepclust` is the command `deepclust`"
import sys

from .cli import main

if __name__=='__main__': sys.exit(main())
