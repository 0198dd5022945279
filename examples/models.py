"""The models of the experiments: those of `tinynet.models`, under the names that the scripts import."""

from tinynet.models import cnn as cnn
from tinynet.models import cnn_lstm as cnn_lstm
from tinynet.models import deep_lstm_cnn as deep_lstm_cnn
from tinynet.models import idc_cnn as idc_cnn
from tinynet.models import idc_lstm as idc_lstm
from tinynet.models import idc_lstm_cnn as idc_lstm_cnn
from tinynet.models import image_cnn_lstm as image_cnn_lstm
from tinynet.models import lstm as lstm
from tinynet.models import lstm_cnn as lstm_cnn
from tinynet.models import pneumonia_cnn_lstm as pneumonia_cnn_lstm
