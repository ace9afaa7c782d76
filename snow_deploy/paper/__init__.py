"""The paper's tables and figures on data of one's own, one module a table or figure.

Yoo, Kang and Cho, "SNOW: Subscribing to Knowledge via Channel Pooling for Transfer & Lifelong
Learning of Convolutional Neural Networks", ICLR 2020.
"""
