// A batch from a data set of bytes that lies on the device: pad and crop, flip, normalise, cutout, in this order.

// The random choices for one image.
struct __align__(8) Draw {
    unsigned int image;  // its number in the data set
    int down, right;     // where the crop begins, before the padding is taken off: −pad..=pad
    int flipped;
    int row, column;  // the centre of the square that is cut out
};

// `table`: [channels][256], the number that stands for each byte; the padding is the byte 0. One thread a pixel.
extern "C" __global__ void batch(const unsigned char* images, const unsigned int* labels, const Draw* draws,
                                 const float* table, number* pixels, unsigned int* batch_labels, int count, int height,
                                 int width, int channels, int cutout) {
    for (unsigned int index = thread_index(); index < (unsigned int)count * height * width; index += thread_count()) {
        const int x = (int)(index % width), y = (int)(index / width % height), n = (int)(index / width / height);
        const Draw draw = draws[n];
        if (x == 0 && y == 0) batch_labels[n] = labels[draw.image];
        const int i = y + draw.down, j = (draw.flipped ? width - 1 - x : x) + draw.right;
        const bool inside = i >= 0 && i < height && j >= 0 && j < width;
        const int before = cutout / 2, after = cutout - before;
        const bool cut = y >= draw.row - before && y < draw.row + after && x >= draw.column - before && x < draw.column + after;
        const unsigned char* const from = images + (((size_t)draw.image * height + i) * width + j) * channels;
        number* const to = pixels + (size_t)index * channels;
        for (int c = 0; c < channels; ++c) to[c] = (number)(cut ? 0.0f : table[c * 256 + (inside ? from[c] : 0)]);
    }
}
