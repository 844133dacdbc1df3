from messages import *
